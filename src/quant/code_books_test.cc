#include "quant/code_books.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

/// CRC-32 of the floats' bytes, little-endian, as zlib computes it.
std::uint32_t crc32(std::span<const float> values) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int byte = 0; byte < 4; ++byte) {
      crc ^= (bits >> (8 * byte)) & 0xFF;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
    }
  }
  return ~crc;
}

// The sums are those of bitsandbytes' tables; computed without fused multiply-add some 40 entries
// would be off in the last bit.
TEST(DynamicMap, IsBitsandbytesTable) {
  EXPECT_EQ(crc32(dynamic_map()), 0x1B137AEBU);
}

TEST(UnsignedDynamicMap, IsBitsandbytesTable) {
  EXPECT_EQ(crc32(unsigned_dynamic_map()), 0xE871278FU);
}

TEST(DynamicMap, AscendsFromMoreThanMinusOneToOneThroughZero) {
  const auto map = dynamic_map();
  EXPECT_TRUE(std::is_sorted(map.begin(), map.end()));
  EXPECT_EQ(map[0], -0.99296875F);
  EXPECT_EQ(map[127], 0.0F);
  EXPECT_EQ(map[255], 1.0F);
}

TEST(FourBitCode, EndsOfNF4AreOne) {
  const auto code = four_bit_code(QuantType::kNF4);
  EXPECT_TRUE(std::is_sorted(code.begin(), code.end()));
  EXPECT_EQ(code[0], -1.0F);
  EXPECT_EQ(code[7], 0.0F);
  EXPECT_EQ(code[15], 1.0F);
}

TEST(FourBitCode, FP4HasASignBit) {
  const auto code = four_bit_code(QuantType::kFP4);
  for (std::size_t i = 1; i < 8; ++i) EXPECT_EQ(code[i + 8], -code[i]) << i;
  EXPECT_EQ(std::bit_cast<std::uint32_t>(code[1]), 0x3BAAAAABU);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(code[2]), 0x3F2AAAABU);
}

TEST(FourBitCode, BothZerosOfFP4ArePositive) {
  const auto code = four_bit_code(QuantType::kFP4);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(code[0]), 0U);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(code[8]), 0U);
}

TEST(FourBitCode, RefusesTypesThatHaveNone) {
  EXPECT_THROW(four_bit_code(QuantType::kInt8), ArgumentError);
  EXPECT_THROW(four_bit_code(QuantType::kNone), ArgumentError);
  EXPECT_THROW(four_bit_decision(QuantType::kInt8), ArgumentError);
}

// Bits from the table of bitsandbytes' CUDA literals, with which its CPU midpoints agree.
TEST(FourBitDecision, MidpointsOfNF4AreBitsandbytesLiterals) {
  constexpr std::uint32_t kBits[] = {0xBF591CD8, 0xBF1C5270, 0xBEEB8480, 0xBEADEA76, 0xBE703CEC,
                                     0xBE0D38BC, 0xBD3A7871, 0x3D22FAFF, 0x3DF64862, 0x3E5067E0,
                                     0x3E9582D4, 0x3EC753F9, 0x3F006D04, 0x3F248DAF, 0x3F5C89DA};
  const FourBitDecision& decision = four_bit_decision(QuantType::kNF4);
  for (std::size_t i = 0; i < 15; ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(decision.midpoints[i]), kBits[i]) << i;
  }
}

TEST(FourBitCodeOf, AMidpointTakesTheLowerCode) {
  for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
    const FourBitDecision& decision = four_bit_decision(type);
    for (std::size_t i = 0; i < 15; ++i) {
      EXPECT_EQ(four_bit_code_of(decision, decision.midpoints[i]), decision.codes[i]);
      EXPECT_EQ(four_bit_code_of(decision, std::nextafter(decision.midpoints[i], 2.0F)),
                decision.codes[i + 1]);
    }
  }
}

TEST(FourBitCodeOf, TinyPositivesAreTheOtherZeroOfFP4) {
  const FourBitDecision& decision = four_bit_decision(QuantType::kFP4);
  EXPECT_EQ(four_bit_code_of(decision, 0.0F), 0);
  EXPECT_EQ(four_bit_code_of(decision, -0.0F), 0);
  EXPECT_EQ(four_bit_code_of(decision, -0.0026F), 0);
  EXPECT_EQ(four_bit_code_of(decision, 1e-40F), 8);
  EXPECT_EQ(four_bit_code_of(decision, 0.0026F), 8);
}

TEST(FourBitCodeOf, NaNTakesTheHighestCode) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(four_bit_code_of(four_bit_decision(QuantType::kNF4), nan), 15);
  EXPECT_EQ(four_bit_code_of(four_bit_decision(QuantType::kFP4), nan), 3);
}

}  // namespace
}  // namespace shoehorn
