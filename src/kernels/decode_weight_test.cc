#include "kernels/decode_weight.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_test.h"
#include "kernels/testing_four_bit.h"

namespace shoehorn {
namespace {

using kernel_test::FourBitWeight;
using kernel_test::isas;
using kernel_test::same_bits;

std::vector<float> columns(const WeightView& weight, std::int64_t row, std::int64_t first,
                           std::int64_t count, Isa isa) {
  std::vector<float> out(static_cast<std::size_t>(count) + 1, -1e30F);
  decode_columns(weight, row, first, count, out.data(), isa);
  EXPECT_EQ(out.back(), -1e30F) << "written past the end";
  out.pop_back();
  return out;
}

TEST(DecodeColumns, FourBitsAreCodeTimesAbsmaxHighHalfFirst) {
  FourBitWeight weight({.quant_type = QuantType::kFP4}, 1, 4, 1);
  weight.data()[0] = std::byte{0x32};  // 1 and 2/3
  weight.data()[1] = std::byte{0xD0};  // -1/2 and 0
  const float absmax = 4;
  std::memcpy(weight.data() + weight.layout().absmax, &absmax, sizeof(absmax));
  for (const Isa isa : isas()) {
    const std::vector<float> expected = {4, 4 * kernel_test::kFP4Codes[2], -2, 0};
    EXPECT_EQ(columns(weight.view(), 0, 0, 4, isa), expected) << to_string(isa);
  }
}

TEST(DecodeColumns, FourBitsAreTheSameBitsOnEveryInstructionSet) {
  for (const bool nested : {false, true}) {
    for (const std::int64_t blocksize : {32, 64, 256}) {
      const FourBitWeight weight(
          {.quant_type = QuantType::kNF4, .blocksize = blocksize, .nested = nested}, 5, 301, 1, 3);
      for (std::int64_t first = 0; first < 40; ++first) {
        for (const std::int64_t count : {0, 1, 2, 15, 16, 17, 31, 32, 33, 100, 261}) {
          const auto expected = columns(weight.view(), 3, first, count, Isa::kRef);
          for (const Isa isa : isas()) {
            EXPECT_TRUE(same_bits(columns(weight.view(), 3, first, count, isa), expected))
                << to_string(isa) << " " << blocksize << " " << first << " " << count;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace shoehorn
