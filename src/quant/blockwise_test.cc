#include "quant/blockwise.h"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "quant/code_books.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Quantized {
  std::vector<std::uint8_t> codes;
  std::vector<float> absmax;
};

Quantized quantized(const std::vector<float>& x, BnbParity parity, std::int64_t blocksize = 256) {
  const auto block = static_cast<std::size_t>(blocksize);
  Quantized out{.codes = std::vector<std::uint8_t>(x.size()),
                .absmax = std::vector<float>((x.size() + block - 1) / block)};
  quantize_blockwise(dynamic_map(), blocksize, parity, x, out.codes, out.absmax);
  return out;
}

TEST(QuantizeBlockwise, TheNearestValueOfZeroIsZero) {
  for (const BnbParity parity : {BnbParity::kNone, BnbParity::kCuda}) {
    EXPECT_THAT(quantized({0.0F, 1.0F}, parity).codes, ElementsAre(127, 255));
  }
}

TEST(QuantizeBlockwise, BinsOfTheCpuLibraryMissZero) {
  EXPECT_THAT(quantized({0.0F, 1.0F}, BnbParity::kCpu).codes, ElementsAre(131, 255));
}

TEST(QuantizeBlockwise, AMidpointTakesTheLowerCode) {
  const float midpoint = 0.5F * (dynamic_map()[200] + dynamic_map()[201]);
  const std::vector<float> x = {midpoint, std::nextafter(midpoint, 1.0F), 1.0F};
  EXPECT_THAT(quantized(x, BnbParity::kNone).codes, ElementsAre(200, 201, 255));
}

TEST(QuantizeBlockwise, BlocksOfZerosHaveCodeAndScaleZero) {
  for (const BnbParity parity : {BnbParity::kNone, BnbParity::kCpu, BnbParity::kCuda}) {
    const Quantized found = quantized({0.0F, -0.0F, 2.0F, 0.5F}, parity, 2);
    EXPECT_EQ(found.codes[0], 0);
    EXPECT_EQ(found.codes[1], 0);
    EXPECT_THAT(found.absmax, ElementsAre(0.0F, 2.0F));
  }
}

TEST(QuantizeBlockwise, TheLastBlockMayBeIncomplete) {
  const Quantized found = quantized({1.0F, 0.5F, 4.0F}, BnbParity::kNone, 2);
  EXPECT_THAT(found.absmax, ElementsAre(1.0F, 4.0F));
  EXPECT_EQ(found.codes[2], 255);
}

TEST(QuantizeBlockwise, NaNStaysInTheScale) {
  const Quantized found = quantized({0.5F, kNaN}, BnbParity::kNone);
  EXPECT_TRUE(std::isnan(found.absmax[0]));
  EXPECT_EQ(found.codes[1], 0);
}

// The next three were seen in bitsandbytes 0.50.2 on a CPU.
TEST(QuantizeBlockwise, TheCpuLibraryPassesOverNaN) {
  const Quantized found = quantized({0.5F, -0.25F, 0.5F, kNaN}, BnbParity::kCpu);
  EXPECT_THAT(found.codes, ElementsAre(255, 35, 255, 0));
  EXPECT_THAT(found.absmax, ElementsAre(0.5F));
}

TEST(QuantizeBlockwise, InfinityCrushesTheRestOnTheCpu) {
  const Quantized found = quantized({0.5F, -0.25F, kInfinity}, BnbParity::kCpu);
  EXPECT_THAT(found.codes, ElementsAre(131, 131, 0));
  EXPECT_THAT(found.absmax, ElementsAre(kInfinity));
}

TEST(QuantizeBlockwise, SubnormalsWhoseReciprocalIsInfiniteSaturateOnTheCpu) {
  EXPECT_THAT(quantized({1e-40F, -1e-40F, 0.0F, 5e-41F}, BnbParity::kCpu).codes,
              ElementsAre(255, 0, 0, 255));
  EXPECT_THAT(quantized({1e-38F, -1e-38F, 0.0F, 5e-39F}, BnbParity::kCpu).codes,
              ElementsAre(255, 0, 131, 219));
}

TEST(QuantizeBlockwise, RefusesLengthsThatDoNotFit) {
  const std::array<float, 5> x{};
  std::array<std::uint8_t, 5> codes{};
  std::array<float, 3> absmax{};
  EXPECT_THROW(quantize_blockwise(dynamic_map(), 4, BnbParity::kNone, x, codes, absmax),
               ArgumentError);
  EXPECT_THROW(quantize_blockwise(dynamic_map(), 0, BnbParity::kNone, x, codes, absmax),
               ArgumentError);
  EXPECT_THROW(quantize_blockwise(dynamic_map(), 2, BnbParity::kNone, x,
                                  std::span(codes).first<4>(), absmax),
               ArgumentError);
}

TEST(DequantizeBlockwise, ReadsTheMapTimesTheScaleOfTheBlock) {
  const std::array<std::uint8_t, 3> codes = {255, 127, 255};
  const std::array<float, 2> absmax = {2.0F, 0.5F};
  std::array<float, 3> out{};
  dequantize_blockwise(dynamic_map(), 2, codes, absmax, out.data());
  EXPECT_THAT(out, ElementsAre(2.0F, 0.0F, 0.5F));
}

TEST(DequantizeBlockwise, RefusesLengthsThatDoNotFit) {
  const std::array<std::uint8_t, 3> codes{};
  const std::array<float, 1> absmax{};
  std::array<float, 3> out{};
  EXPECT_THROW(dequantize_blockwise(dynamic_map(), 2, codes, absmax, out.data()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
