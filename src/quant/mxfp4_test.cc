#include "quant/mxfp4.h"

#include <array>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "quant/decode_row_ref.h"
#include "tensor/dtype.h"

namespace shoehorn::quant {
namespace {

// The sixteen e2m1 values, transformers' FP4_VALUES.
constexpr std::array<float, 16> kValues = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                                           -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};

TEST(PackMxfp4, LowNibblesAreEvenValuesTimesThePowerOfTwo) {
  std::vector<std::uint8_t> nibbles;
  const std::vector<std::uint8_t> scales = {127, 120, 130, 1, 0, 254};
  for (std::size_t i = 0; i < scales.size() * kMxfp4NibbleBytes; ++i) {
    nibbles.push_back(static_cast<std::uint8_t>(i * 37 + 11));
  }
  std::vector<BlockMXFP4> blocks(scales.size());
  pack_mxfp4(nibbles, scales, blocks);
  std::vector<float> got(scales.size() * 32);
  decode_row_ref(DType::kMXFP4, reinterpret_cast<const std::byte*>(blocks.data()),
                 static_cast<std::int64_t>(got.size()), got.data());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const unsigned pair = nibbles[i / 2];
    const float value = kValues[i % 2 == 0 ? pair & 15U : pair >> 4];
    EXPECT_EQ(got[i], std::ldexp(value, scales[i / 32] - 127)) << i;
  }
}

}  // namespace
}  // namespace shoehorn::quant
