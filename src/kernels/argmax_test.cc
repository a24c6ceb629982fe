#include "kernels/argmax.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Argmax, FindsTheLargestWhereverItIs) {
  for (const std::size_t size : {1, 31, 32, 33, 100}) {
    for (std::size_t at = 0; at < size; ++at) {
      std::vector<float> x(size, -1);
      x[at] = -0.5F;
      EXPECT_EQ(argmax(x), static_cast<std::int32_t>(at)) << size;
    }
  }
}

TEST(Argmax, TakesTheFirstOfEqualOnes) {
  std::vector<float> x(100, 1);
  EXPECT_EQ(argmax(x), 0);
  x[97] = x[70] = x[40] = 2;
  EXPECT_EQ(argmax(x), 40);
}

TEST(Argmax, TakesNothingThatIsNoNumber) {
  std::vector<float> x(100, kNan);
  EXPECT_EQ(argmax(x), -1);
  EXPECT_EQ(argmax({}), -1);
  x[98] = -kInfinity;
  EXPECT_EQ(argmax(x), 98);
  x[5] = -3;
  EXPECT_EQ(argmax(x), 5);
  x[64] = kInfinity;
  EXPECT_EQ(argmax(x), 64);
}

}  // namespace
}  // namespace shoehorn
