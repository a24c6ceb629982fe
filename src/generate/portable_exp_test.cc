#include "generate/portable_exp.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

TEST(PortableExp, IsWithin2UlpOfTheTruth) {
  // 100,003 steps over the whole range, none of them round numbers.
  for (float x = 0; x > -87.0f; x -= 0.00087f) {
    const double truth = std::exp(static_cast<double>(x));
    const float nearest = static_cast<float>(truth);
    const double ulp = std::nextafter(nearest, 2.0f) - nearest;
    ASSERT_NEAR(portable_exp(x), truth, 2 * ulp) << "x = " << x;
  }
}

TEST(PortableExp, OfZeroIsExactlyOne) {
  EXPECT_EQ(portable_exp(0.0f), 1.0f);
}

TEST(PortableExp, OfMinusInfinityIsZero) {
  EXPECT_EQ(portable_exp(-std::numeric_limits<float>::infinity()), 0.0f);
}

TEST(PortableExp, OfNanIsZero) {
  EXPECT_EQ(portable_exp(std::numeric_limits<float>::quiet_NaN()), 0.0f);
}

// The bits, also computed with numpy step by step in float32: another compiler, flag or processor
// that changes them changes what is drawn.
TEST(PortableExp, BitsAreTheSameEverywhere) {
  EXPECT_EQ(portable_exp(-1.0f), 0x1.78b564p-2f);
  EXPECT_EQ(portable_exp(-0.3333333f), 0x1.6edd3p-1f);
  EXPECT_EQ(portable_exp(-20.125f), 0x1.f3fe0cp-30f);
}

}  // namespace
}  // namespace shoehorn
