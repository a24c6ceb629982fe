#include "kernels/linear_four_bit_bf16.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/decode_weight.h"
#include "kernels/kernel_test.h"
#include "kernels/linear.h"
#include "kernels/testing_four_bit.h"
#include "tensor/half.h"

namespace shoehorn {
namespace {

using kernel_test::FourBitWeight;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

struct Case {
  std::int64_t blocksize = 64;
  bool nested = false;
  std::int64_t rows = 20;
  std::int64_t outputs = 33;
  std::int64_t k = 128;
  std::size_t offset = 0;  // of the weight from a 64-byte boundary
};

std::string describe(const Case& c) {
  std::string text = c.nested ? "nested" : "";
  for (const std::int64_t n : {c.blocksize, c.rows, c.outputs, c.k}) {
    text += " " + std::to_string(n);
  }
  return text;
}

FourBitWeight weight_of(const Case& c) {
  const WeightForm form{
      .quant_type = QuantType::kNF4, .blocksize = c.blocksize, .nested = c.nested};
  return {form, c.outputs, c.k, 1, c.offset};
}

std::vector<float> run(const Case& c, int threads = 2) {
  Machine machine(Isa::kAmx, threads);
  const FourBitWeight weight = weight_of(c);
  const auto x = random_floats(c.rows * c.k, 2);
  const auto bias = random_floats(c.outputs, 3);
  std::vector<float> y(static_cast<std::size_t>(c.rows * c.outputs), -1e30F);
  linear(weight.view(ComputeDtype::kBF16), bias, x, c.rows, y, machine.context());
  return y;
}

double rounded(float value) {
  return bf16_to_f32(f32_to_bf16(value));
}

// The rule of the header in double precision.
std::vector<float> model(const Case& c) {
  const FourBitWeight weight = weight_of(c);
  const auto x = random_floats(c.rows * c.k, 2);
  const auto bias = random_floats(c.outputs, 3);
  std::vector<float> y(static_cast<std::size_t>(c.rows * c.outputs));
  std::vector<float> row(static_cast<std::size_t>(c.k));
  for (std::int64_t n = 0; n < c.outputs; ++n) {
    decode_columns(weight.view(), n, 0, c.k, row.data(), Isa::kRef);
    for (std::int64_t m = 0; m < c.rows; ++m) {
      double sum = bias[static_cast<std::size_t>(n)];
      for (std::int64_t i = 0; i < c.k; ++i) {
        sum += rounded(row[static_cast<std::size_t>(i)]) *
               rounded(x[static_cast<std::size_t>(m * c.k + i)]);
      }
      y[static_cast<std::size_t>(m * c.outputs + n)] = static_cast<float>(sum);
    }
  }
  return y;
}

// Products are exact in float32, so what differs is the rounding of the sum: see linear_test.cc.
void expect_follows_the_rule(const Case& c) {
  const double tolerance = 2e-6 + 2e-7 * static_cast<double>(c.k);
  EXPECT_LE(kernel_test::largest_difference(run(c), model(c)), tolerance) << describe(c);
}

class LinearFourBitBf16 : public testing::Test {
 protected:
  void SetUp() override {
    if (detect_isa() < Isa::kAmx) GTEST_SKIP() << "this processor has no tiles (AMX)";
  }
};

TEST_F(LinearFourBitBf16, FollowsTheRuleAtEveryDepth) {
  for (const std::int64_t k : {1, 2, 31, 32, 33, 63, 64, 100, 192, 255, 256, 257, 576, 2048}) {
    for (const bool nested : {false, true}) expect_follows_the_rule({.nested = nested, .k = k});
  }
}

TEST_F(LinearFourBitBf16, FollowsTheRuleAtEveryBlocksize) {
  for (const std::int64_t blocksize : {32, 64, 128, 1024, 4096}) {
    expect_follows_the_rule({.blocksize = blocksize, .k = 320});
  }
}

TEST_F(LinearFourBitBf16, FollowsTheRuleForEveryNumberOfRows) {
  for (const std::int64_t rows : {9, 15, 16, 17, 32, 33, 49, 100, 530}) {
    expect_follows_the_rule({.rows = rows, .outputs = 40});
  }
}

TEST_F(LinearFourBitBf16, FollowsTheRuleForEveryNumberOfOutputs) {
  for (const std::int64_t outputs : {1, 15, 16, 17, 31, 32, 33, 127, 128, 129, 700}) {
    expect_follows_the_rule({.outputs = outputs});
  }
}

TEST_F(LinearFourBitBf16, ResultDoesNotDependOnThreads) {
  const Case c{.nested = true, .rows = 40, .outputs = 701, .k = 576};
  EXPECT_TRUE(same_bits(run(c, 1), run(c, 3)));
}

TEST_F(LinearFourBitBf16, ResultDoesNotDependOnAlignment) {
  Case c{.nested = true, .outputs = 100, .k = 192};
  const auto at_0 = run(c);
  for (const std::size_t offset : {4U, 20U, 32U, 60U}) {
    c.offset = offset;
    EXPECT_TRUE(same_bits(run(c), at_0)) << offset;
  }
}

TEST_F(LinearFourBitBf16, AccumulateAddsToWhatIsThere) {
  Machine machine(Isa::kAmx);
  const FourBitWeight weight({.quant_type = QuantType::kNF4}, 21, 128, 1);
  const WeightView view = weight.view(ComputeDtype::kBF16);
  const auto x = random_floats(30 * 128, 2);
  const auto before = random_floats(30 * 21, 3);
  auto y = before;
  const LinearTask task{.weight = &view, .bias = {}, .y = y, .accumulate = true};
  linear_many({&task, 1}, x, 30, machine.context());
  std::vector<float> product(y.size());
  linear(view, {}, x, 30, product, machine.context());
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], before[i] + product[i], 2e-6) << i;
}

TEST_F(LinearFourBitBf16, NanOfOneRowStaysInItsRow) {
  Machine machine(Isa::kAmx);
  const FourBitWeight weight({.quant_type = QuantType::kNF4}, 5, 64, 1);
  auto x = random_floats(20 * 64, 2);
  x[64 + 63] = NAN;
  std::vector<float> y(20 * 5);
  linear(weight.view(ComputeDtype::kBF16), {}, x, 20, y, machine.context());
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 5 == 1) << i;
}

TEST_F(LinearFourBitBf16, WorkspaceThatLinearNamesSuffices) {
  for (const std::int64_t rows : {9, 40, 600}) {
    for (const std::int64_t k : {33, 2048}) {
      Machine machine(Isa::kAmx, 3, linear_workspace_bytes(rows, k, 3));
      const FourBitWeight weight({.quant_type = QuantType::kNF4}, 20, k, 1);
      const auto x = random_floats(rows * k, 2);
      std::vector<float> y(static_cast<std::size_t>(rows * 20));
      EXPECT_NO_THROW(linear(weight.view(ComputeDtype::kBF16), {}, x, rows, y, machine.context()))
          << rows << " " << k;
    }
  }
}

TEST(TakesBf16Tiles, WantsTheComputeDtypeAndTheInstructions) {
  WeightView weight({.quant_type = QuantType::kNF4}, {4, 64}, nullptr, Device{});
  weight.compute.dtype = ComputeDtype::kBF16;
  EXPECT_TRUE(takes_bf16_tiles(weight, Isa::kAmx));
  EXPECT_FALSE(takes_bf16_tiles(weight, Isa::kAvx512));
  weight.compute.dtype = ComputeDtype::kF32;
  EXPECT_FALSE(takes_bf16_tiles(weight, Isa::kAmx));
}

}  // namespace
}  // namespace shoehorn
