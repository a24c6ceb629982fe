#include "quant/int8_rows.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Quantized {
  std::vector<std::int8_t> q;
  std::vector<float> stats;
  std::vector<std::int64_t> outlier_columns = {-1};
};

Quantized quantized(const std::vector<float>& x, std::int64_t rows, float threshold = 0.0F) {
  Quantized out{.q = std::vector<std::int8_t>(x.size(), 1),
                .stats = std::vector<float>(static_cast<std::size_t>(rows))};
  quantize_int8_rows(x, rows, static_cast<std::int64_t>(x.size()) / rows, threshold, out.q,
                     out.stats, &out.outlier_columns);
  return out;
}

TEST(QuantizeInt8Rows, TheLargestMagnitudeIs127) {
  EXPECT_THAT(quantized({1.0F, -2.0F, 0.5F}, 1).q, ElementsAre(64, -127, 32));
}

TEST(QuantizeInt8Rows, TiesGoToTheEvenCode) {
  EXPECT_THAT(quantized({127.0F, 0.5F, 1.5F, -2.5F}, 1).q, ElementsAre(127, 0, 2, -2));
}

TEST(QuantizeInt8Rows, EveryRowHasItsOwnScale) {
  const Quantized found = quantized({1.0F, 0.5F, 100.0F, -50.0F}, 2);
  EXPECT_THAT(found.q, ElementsAre(127, 64, 127, -64));
  EXPECT_THAT(found.stats, ElementsAre(1.0F, 100.0F));
}

TEST(QuantizeInt8Rows, RowsOfZerosAreZeros) {
  const Quantized found = quantized({0.0F, 0.0F, 3.0F, 0.0F}, 2);
  EXPECT_THAT(found.q, ElementsAre(0, 0, 127, 0));
  EXPECT_THAT(found.stats, ElementsAre(0.0F, 3.0F));
}

TEST(QuantizeInt8Rows, ValuesAreRoundedToFloat16First) {
  EXPECT_THAT(quantized({1.0F + 0x1p-12F, 0.0F}, 1).stats, ElementsAre(1.0F));
  EXPECT_THAT(quantized({1e-9F, 0.0F}, 1).stats, ElementsAre(0.0F));
}

TEST(QuantizeInt8Rows, TooLargeForFloat16IsInfinite) {
  const Quantized found = quantized({70000.0F, 1.0F}, 1);
  EXPECT_THAT(found.stats, ElementsAre(kInfinity));
  EXPECT_THAT(found.q, Each(0));
}

// Seen in bitsandbytes 0.50.2 on a CPU.
TEST(QuantizeInt8Rows, NaNAndInfinityMakeARowOfZeros) {
  const Quantized nan = quantized({1.0F, kNaN, 2.0F, 3.0F}, 1);
  EXPECT_THAT(nan.q, Each(0));
  EXPECT_TRUE(std::isnan(nan.stats[0]));
  EXPECT_THAT(quantized({1.0F, kInfinity, 2.0F, 3.0F}, 1).q, Each(0));
}

TEST(QuantizeInt8Rows, OutliersStayOutOfTheScale) {
  const Quantized found = quantized({1.0F, 100.0F, -2.0F}, 1, 6.0F);
  EXPECT_THAT(found.stats, ElementsAre(2.0F));
  EXPECT_THAT(found.q, ElementsAre(64, 0, -127));
  EXPECT_THAT(found.outlier_columns, ElementsAre(1));
}

TEST(QuantizeInt8Rows, AColumnWithAnOutlierIsZeroInEveryRow) {
  const Quantized found = quantized({1.0F, 8.0F, 2.0F, 4.0F}, 2, 6.0F);
  EXPECT_THAT(found.q, ElementsAre(127, 0, 64, 0));
}

TEST(QuantizeInt8Rows, OtherValuesOfAnOutlierColumnCountForTheirRow) {
  EXPECT_THAT(quantized({1.0F, 8.0F, 2.0F, 4.0F}, 2, 6.0F).stats, ElementsAre(1.0F, 4.0F));
}

TEST(QuantizeInt8Rows, TheThresholdItselfIsAnOutlier) {
  EXPECT_THAT(quantized({1.0F, 6.0F, -6.0F}, 1, 6.0F).outlier_columns, ElementsAre(1, 2));
}

// 5.999 is 6 in float16.
TEST(QuantizeInt8Rows, TheThresholdIsTestedInFloat16) {
  EXPECT_THAT(quantized({1.0F, 5.999F, 5.99F}, 1, 6.0F).outlier_columns, ElementsAre(1));
}

TEST(QuantizeInt8Rows, WithoutOutliersTheListIsEmpty) {
  EXPECT_THAT(quantized({1.0F, 2.0F}, 1, 6.0F).outlier_columns, IsEmpty());
  EXPECT_THAT(quantized({1.0F, 2000.0F}, 1).outlier_columns, IsEmpty());
}

TEST(QuantizeInt8Rows, ARowOfOutliersHasScaleZero) {
  const Quantized found = quantized({7.0F, -8.0F}, 1, 6.0F);
  EXPECT_THAT(found.stats, ElementsAre(0.0F));
  EXPECT_THAT(found.q, Each(0));
}

TEST(QuantizeInt8Rows, WeightsNeedNoListOfColumns) {
  const std::array<float, 2> x = {1.0F, 2.0F};
  std::array<std::int8_t, 2> q{};
  std::array<float, 1> stats{};
  quantize_int8_rows(x, 1, 2, 0.0F, q, stats, nullptr);
  EXPECT_THAT(q, ElementsAre(64, 127));
}

TEST(QuantizeInt8Rows, RefusesWhatDoesNotFit) {
  const std::array<float, 6> x{};
  std::array<std::int8_t, 6> q{};
  std::array<float, 2> stats{};
  std::vector<std::int64_t> columns;
  const auto quantize = [&](std::int64_t rows, std::int64_t k, float threshold, auto* out) {
    quantize_int8_rows(x, rows, k, threshold, q, stats, out);
  };
  quantize(2, 3, 6.0F, &columns);
  EXPECT_THROW(quantize(3, 2, 6.0F, &columns), ArgumentError);
  EXPECT_THROW(quantize(2, 2, 6.0F, &columns), ArgumentError);
  EXPECT_THROW(quantize(-2, -3, 6.0F, &columns), ArgumentError);
  EXPECT_THROW(quantize(INT64_MAX, 2, 6.0F, &columns), ArgumentError);
  EXPECT_THROW(quantize(2, 3, -1.0F, &columns), ArgumentError);
  EXPECT_THROW(quantize(2, 3, kNaN, &columns), ArgumentError);
  EXPECT_THROW(quantize(2, 3, 6.0F, static_cast<std::vector<std::int64_t>*>(nullptr)),
               ArgumentError);
}

// With the scale divided by 127 first, or with a true division, the last bits would be others.
TEST(DequantizeInt8Rows, MultipliesByTheScaleAndThenByOneOver127) {
  const std::array<std::int8_t, 2> q = {7, 19};
  const std::array<float, 1> stats = {0.7F};
  std::array<float, 2> out{};
  dequantize_int8_rows(q, stats, 1, 2, out.data());
  EXPECT_EQ(std::bit_cast<std::uint32_t>(out[0]), 0x3D1E08DFU);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(out[1]), 0x3DD679C0U);
}

}  // namespace
}  // namespace shoehorn
