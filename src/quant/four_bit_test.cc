#include "quant/four_bit.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "quant/code_books.h"

namespace shoehorn {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Quantized {
  std::vector<std::uint8_t> packed;
  std::vector<float> absmax;
};

Quantized quantized(QuantType type, const std::vector<float>& x, BnbParity parity = BnbParity::kCpu,
                    std::int64_t blocksize = 32) {
  const auto block = static_cast<std::size_t>(blocksize);
  Quantized out{.packed = std::vector<std::uint8_t>((x.size() + 1) / 2),
                .absmax = std::vector<float>((x.size() + block - 1) / block)};
  quantize_four_bit(type, blocksize, parity, x, out.packed, out.absmax);
  return out;
}

std::vector<std::uint8_t> codes_of(QuantType type, const std::vector<float>& x, BnbParity parity) {
  const Quantized found = quantized(type, x, parity);
  std::vector<std::uint8_t> codes;
  for (std::size_t i = 0; i < x.size(); ++i) {
    codes.push_back(packed_code(found.packed.data(), static_cast<std::int64_t>(i)));
  }
  return codes;
}

/// 0.5, -0.25, 0.5, ...
std::vector<float> halves(std::size_t count) {
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i) x[i] = i % 2 == 0 ? 0.5F : -0.25F;
  return x;
}

TEST(QuantizeFourBit, TheEarlierValueIsTheHighNibble) {
  EXPECT_THAT(quantized(QuantType::kNF4, {1.0F, 0.0F}).packed, ElementsAre(0xF7));
}

TEST(QuantizeFourBit, AnOddTensorIsFilledUpWithZero) {
  EXPECT_THAT(quantized(QuantType::kNF4, {1.0F}).packed, ElementsAre(0xF7));
  EXPECT_THAT(quantized(QuantType::kFP4, {1.0F}).packed, ElementsAre(0x30));
}

TEST(QuantizeFourBit, NothingIsNothing) {
  const Quantized found = quantized(QuantType::kNF4, {});
  EXPECT_TRUE(found.packed.empty());
  EXPECT_TRUE(found.absmax.empty());
}

TEST(QuantizeFourBit, ACompleteBlockOfZerosHasAbsmaxZero) {
  const Quantized found = quantized(QuantType::kNF4, std::vector<float>(32));
  EXPECT_THAT(found.packed, Each(0x77));
  EXPECT_THAT(found.absmax, ElementsAre(0.0F));
}

TEST(QuantizeFourBit, AnIncompleteBlockOfZerosHasTheLeastAbsmax) {
  const Quantized found = quantized(QuantType::kNF4, std::vector<float>(34));
  EXPECT_THAT(found.absmax, ElementsAre(0.0F, 1e-38F));
  EXPECT_EQ(std::bit_cast<std::uint32_t>(found.absmax[1]), 0x006CE3EEU);
}

// 0.1 / 0.3 and 0.1 · fl(1 / 0.3) round differently; here that decides on which side of a midpoint
// of NF4 the value falls.
TEST(QuantizeFourBit, OnlyAnIncompleteBlockDivides) {
  std::mt19937 random(5);
  const FourBitDecision& decision = four_bit_decision(QuantType::kNF4);
  int different = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    const float absmax = 1.0F + static_cast<float>(random() % (1U << 23)) * 0x1p-23F;
    const float value = absmax * decision.midpoints[random() % 15];
    const bool differs = four_bit_code_of(decision, value / absmax) !=
                         four_bit_code_of(decision, value * (1.0F / absmax));
    if (!differs) continue;
    ++different;
    std::vector<float> x(32);
    x[0] = absmax;
    x[1] = value;
    const Quantized complete = quantized(QuantType::kNF4, x);
    x.resize(31);
    const Quantized incomplete = quantized(QuantType::kNF4, x);
    EXPECT_EQ(packed_code(complete.packed.data(), 1),
              four_bit_code_of(decision, value * (1.0F / absmax)));
    EXPECT_EQ(packed_code(incomplete.packed.data(), 1), four_bit_code_of(decision, value / absmax));
  }
  EXPECT_GT(different, 100);
}

// The next four were seen in bitsandbytes 0.50.2 on a CPU.
TEST(QuantizeFourBit, NaNSpoilsItsBlock) {
  std::vector<float> x = halves(64);
  x[3] = kNaN;
  const Quantized found = quantized(QuantType::kNF4, x);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(found.packed[i], 0xFF) << i;
  EXPECT_NE(found.packed[16], 0xFF);
  EXPECT_TRUE(std::isnan(found.absmax[0]));
  EXPECT_EQ(found.absmax[1], 0.5F);
}

TEST(QuantizeFourBit, NaNInAnIncompleteBlockTakesTheHighestCode) {
  std::vector<float> x = halves(5);
  x[3] = kNaN;
  EXPECT_THAT(quantized(QuantType::kFP4, x).packed, ElementsAre(0x33, 0x33, 0x30));
}

TEST(QuantizeFourBit, InfinityTakesTheHighestCodeAndTheRestZero) {
  std::vector<float> x = halves(32);
  x[3] = kInfinity;
  const Quantized found = quantized(QuantType::kNF4, x);
  EXPECT_EQ(found.packed[0], 0x77);
  EXPECT_EQ(found.packed[1], 0x7F);
  EXPECT_EQ(found.packed[2], 0x77);
  EXPECT_EQ(found.absmax[0], kInfinity);
}

TEST(QuantizeFourBit, InfinityInAnIncompleteBlockDoesTheSame) {
  std::vector<float> x = halves(5);
  x[3] = -kInfinity;
  EXPECT_THAT(quantized(QuantType::kFP4, x).packed, ElementsAre(0x00, 0x03, 0x00));
}

TEST(QuantizeFourBit, CudaBlocksOfZerosHaveCodeZero) {
  EXPECT_THAT(quantized(QuantType::kNF4, std::vector<float>(32), BnbParity::kCuda).packed,
              Each(0x00));
  EXPECT_THAT(quantized(QuantType::kFP4, std::vector<float>(32), BnbParity::kCuda).packed,
              Each(0x00));
}

TEST(QuantizeFourBit, CudaSubnormalBlocksCountAsZeros) {
  EXPECT_THAT(quantized(QuantType::kNF4, std::vector<float>(32, 1e-39F), BnbParity::kCuda).packed,
              Each(0x00));
}

TEST(QuantizeFourBit, CudaIncompleteBlocksKeepAbsmaxZero) {
  EXPECT_THAT(quantized(QuantType::kNF4, {0.0F, 0.0F}, BnbParity::kCuda).absmax, ElementsAre(0.0F));
}

TEST(QuantizeFourBit, CudaTakesTheSignOfTinyFP4FromTheValue) {
  const std::vector<float> x = {1.0F, 0.002F, -0.002F, 0.0F};
  EXPECT_THAT(codes_of(QuantType::kFP4, x, BnbParity::kCuda), ElementsAre(3, 0, 8, 0));
  EXPECT_THAT(codes_of(QuantType::kFP4, x, BnbParity::kCpu), ElementsAre(3, 8, 0, 0));
}

// 0.0859375 is a midpoint on both, and decides a tie of negatives in opposite directions.
TEST(QuantizeFourBit, CudaTiesOfFP4GoTowardsZero) {
  const std::vector<float> x = {1.0F, 0.0859375F, -0.0859375F, 0.0859376F};
  EXPECT_THAT(codes_of(QuantType::kFP4, x, BnbParity::kCuda), ElementsAre(3, 1, 9, 6));
  EXPECT_THAT(codes_of(QuantType::kFP4, x, BnbParity::kCpu), ElementsAre(3, 1, 14, 6));
}

TEST(QuantizeFourBit, CudaMidpointsOfFP4AreItsLiterals) {
  // Above the CPU's midpoint of 0.0026041667, below the literal.
  const std::vector<float> x = {1.0F, 0.002604169F};
  EXPECT_THAT(codes_of(QuantType::kFP4, x, BnbParity::kCuda), ElementsAre(3, 0));
  EXPECT_THAT(codes_of(QuantType::kFP4, x, BnbParity::kCpu), ElementsAre(3, 1));
}

TEST(QuantizeFourBit, RefusesOtherTypesBlocksizesAndLengths) {
  const std::array<float, 64> x{};
  std::array<std::uint8_t, 32> packed{};
  std::array<float, 2> absmax{};
  const auto quantize = [&](QuantType type, std::int64_t blocksize, std::size_t bytes) {
    quantize_four_bit(type, blocksize, BnbParity::kNone, x, std::span(packed).first(bytes), absmax);
  };
  quantize(QuantType::kNF4, 32, 32);
  EXPECT_THROW(quantize(QuantType::kInt8, 32, 32), ArgumentError);
  EXPECT_THROW(quantize(QuantType::kNF4, 16, 32), ArgumentError);
  EXPECT_THROW(quantize(QuantType::kNF4, 48, 32), ArgumentError);
  EXPECT_THROW(quantize(QuantType::kNF4, 8192, 32), ArgumentError);
  EXPECT_THROW(quantize(QuantType::kNF4, 64, 32), ArgumentError);
  EXPECT_THROW(quantize(QuantType::kNF4, 32, 31), ArgumentError);
}

TEST(DequantizeFourBit, FindsTheScaleByTheFlatIndex) {
  // [2, 48] in blocks of 32: the middle block covers the end of one row and the start of the next.
  const std::vector<std::uint8_t> packed(48, 0xFF);
  const std::array<float, 3> absmax = {1.0F, 2.0F, 3.0F};
  const FourBitParts parts{.elements = 96,
                           .blocksize = 32,
                           .packed = packed.data(),
                           .absmax = absmax.data(),
                           .quant_map = four_bit_code(QuantType::kNF4).data()};
  std::vector<float> out(96);
  dequantize_four_bit(parts, 0, 96, out.data());
  for (std::size_t i = 0; i < 96; ++i) EXPECT_EQ(out[i], absmax[i / 32]) << i;
}

TEST(DequantizeFourBit, AnyPartOfATensorIsThatPartOfTheWhole) {
  std::mt19937 random(9);
  std::vector<std::uint8_t> packed(75);
  for (std::uint8_t& byte : packed) byte = static_cast<std::uint8_t>(random());
  const std::array<float, 5> absmax = {1.0F, 0.5F, 3.0F, 0.0F, 7.0F};
  const FourBitParts parts{.elements = 149,
                           .blocksize = 32,
                           .packed = packed.data(),
                           .absmax = absmax.data(),
                           .quant_map = four_bit_code(QuantType::kFP4).data()};
  std::vector<float> whole(149);
  dequantize_four_bit(parts, 0, 149, whole.data());
  for (std::int64_t first = 0; first <= 149; ++first) {
    for (std::int64_t count = 0; count <= 149 - first; count += 7) {
      std::vector<float> part(static_cast<std::size_t>(count));
      dequantize_four_bit(parts, first, count, part.data());
      ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + first)) << first;
    }
  }
}

TEST(DequantizeFourBit, TakesTheTableOfTheWeight) {
  std::array<float, 16> table{};
  table[3] = 42.0F;
  const std::uint8_t packed = 0x03;
  const float absmax = 2.0F;
  const FourBitParts parts{
      .elements = 2, .packed = &packed, .absmax = &absmax, .quant_map = table.data()};
  std::array<float, 2> out{};
  dequantize_four_bit(parts, 0, 2, out.data());
  EXPECT_THAT(out, ElementsAre(0.0F, 84.0F));
}

}  // namespace
}  // namespace shoehorn
