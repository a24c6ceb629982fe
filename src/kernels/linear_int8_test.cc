// linear() with LLM.int8() weights: the reference against numbers worked out by hand, every path
// against the reference. Without outliers all paths give the same bits.
#include "kernels/linear_int8.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/kernel_test.h"
#include "kernels/linear_int8_paths.h"

namespace shoehorn {
namespace {

using kernel_test::isas;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

// A weight [n, k] of random codes, -128 among them, and scales.
class Int8Weight {
 public:
  Int8Weight(std::int64_t n, std::int64_t k, unsigned seed, std::size_t offset = 0)
      : layout_(int8_layout(n, k)),
        bytes_(layout_.bytes, offset),
        view_({.quant_type = QuantType::kInt8, .dtype = DType::kF16}, {n, k}, bytes_.data(),
              Device{}) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> code(-128, 127);
    for (std::int64_t i = 0; i < n * k; ++i)
      bytes_.data()[i] = static_cast<std::byte>(code(random));
    const auto scales = random_floats(n, seed + 1);
    for (std::int64_t i = 0; i < n; ++i)
      set_scb(i, 0.01F + std::fabs(scales[static_cast<std::size_t>(i)]));
  }
  void set_code(std::int64_t i, int code) { bytes_.data()[i] = static_cast<std::byte>(code); }
  void set_scb(std::int64_t n, float value) {
    std::memcpy(bytes_.data() + layout_.scb + 4 * static_cast<std::size_t>(n), &value, 4);
  }
  WeightView& view() { return view_; }

 private:
  Int8Layout layout_;
  kernel_test::OddBytes bytes_;
  WeightView view_;
};

struct Case {
  std::int64_t rows;
  std::int64_t n;
  std::int64_t k;
  float threshold = 0;
  std::int64_t outlier_columns = 0;
  std::size_t offset = 0;
};

std::string describe(const Case& c, Isa isa) {
  std::string text(to_string(isa));
  for (const std::int64_t n : {c.rows, c.n, c.k, c.outlier_columns}) {
    text += " " + std::to_string(n);
  }
  return text + " threshold " + std::to_string(c.threshold);
}

// Normal numbers, all below 6, with that many columns (spread over the row) where some rows hold
// larger ones, the last row among them.
std::vector<float> inputs(const Case& c) {
  auto x = random_floats(c.rows * c.k, 2);
  for (float& value : x) value = std::clamp(value, -5.0F, 5.0F);
  for (std::int64_t i = 0; i < c.outlier_columns; ++i) {
    const std::int64_t column = i * c.k / c.outlier_columns;
    for (std::int64_t m = c.rows - 1; m >= 0; m -= 3) {
      x[static_cast<std::size_t>(m * c.k + column)] = (i % 2 == 0 ? 7.5F : -60.25F);
    }
  }
  return x;
}

std::vector<float> run(const Case& c, Isa isa, int threads = 2) {
  Machine machine(isa, threads);
  Int8Weight weight(c.n, c.k, 1, c.offset);
  weight.view().compute.llm_int8_threshold = c.threshold;
  const auto x = inputs(c);
  const auto bias = random_floats(c.n, 3);
  std::vector<float> y(static_cast<std::size_t>(c.rows * c.n), -1e30F);
  linear(weight.view(), bias, x, c.rows, y, machine.context());
  return y;
}

void expect_bits_of_ref(const Case& c) {
  const auto expected = run(c, Isa::kRef);
  for (const Isa isa : isas()) EXPECT_TRUE(same_bits(run(c, isa), expected)) << describe(c, isa);
}

// The integers are exact; what is left is a float32 sum of products of outliers, each at most 60 ·
// scale, about 150, in another order.
void expect_like_ref(const Case& c) {
  const auto expected = run(c, Isa::kRef);
  const double tolerance = 1e-5 * static_cast<double>(1 + c.outlier_columns);
  for (const Isa isa : isas()) {
    EXPECT_LE(kernel_test::largest_difference(run(c, isa), expected), tolerance)
        << describe(c, isa);
  }
}

constexpr std::int64_t kDepths[] = {1, 3, 63, 64, 65, 130, 576, 2048};
constexpr std::int64_t kOutputs[] = {1, 5, 33, 100};

TEST(LinearInt8, RefMultipliesCodesAndScales) {
  Machine machine(Isa::kRef);
  Int8Weight weight(1, 3, 1);
  for (const int i : {0, 1, 2}) weight.set_code(i, 10 * (i + 1));
  weight.set_scb(0, 0.5F);
  weight.view().compute.llm_int8_threshold = 0;
  const std::vector<float> x = {127, -63.5F, 1.5F};  // codes 127, -64 (a tie), 2 (a tie)
  const std::vector<float> bias = {100};
  std::vector<float> y(1);
  linear(weight.view(), bias, x, 1, y, machine.context());
  const float scale = 127.0F * 0.5F;
  EXPECT_EQ(y[0], (10 * 127 - 20 * 64 + 30 * 2) * scale * kInt8Constant + 100);
}

TEST(LinearInt8, BnbCpuConstantIsTheirs) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 16}) {
      Machine machine(isa);
      Int8Weight weight(1, 1, 1);
      weight.set_code(0, 127);
      weight.set_scb(0, 1);
      weight.view().compute.bnb_cpu_constant = true;
      const std::vector<float> x(static_cast<std::size_t>(rows), 1.0F);
      std::vector<float> y(x.size());
      linear(weight.view(), {}, x, rows, y, machine.context());
      EXPECT_THAT(y, testing::Each(16129.0F * 6.200124e-05F)) << to_string(isa);
    }
  }
}

TEST(LinearInt8, RefMultipliesOutliersAsFloats) {
  Machine machine(Isa::kRef);
  Int8Weight weight(1, 2, 1);
  weight.set_code(0, 127);
  weight.set_code(1, 50);
  weight.set_scb(0, 1);
  const std::vector<float> x = {1, 1000.123F};  // beyond the threshold of 6
  std::vector<float> y(1);
  linear(weight.view(), {}, x, 1, y, machine.context());
  const float outlier_weight = 50.0F * 1.0F * kInt8Inverse127;
  EXPECT_FLOAT_EQ(y[0], 127.0F * 127.0F * kInt8Constant + 1000.123F * outlier_weight);
}

TEST(LinearInt8, OutliersAreFoundInFloat16) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 16}) {
      Machine machine(isa);
      Int8Weight weight(1, 2, 1);
      weight.set_code(0, 127);
      weight.set_code(1, 0);
      weight.set_scb(0, 127);
      // 5.999 rounds to 6.0 in float16: an outlier, multiplied as it was.
      std::vector<float> x;
      for (std::int64_t m = 0; m < rows; ++m) x.insert(x.end(), {5.999F, 0.5F});
      std::vector<float> y(static_cast<std::size_t>(rows));
      linear(weight.view(), {}, x, rows, y, machine.context());
      EXPECT_THAT(y, testing::Each(5.999F * (127.0F * 127.0F * kInt8Inverse127))) << to_string(isa);
    }
  }
}

TEST(LinearInt8, EveryDepthGivesTheSameBits) {
  for (const std::int64_t rows : {1, 3, 20}) {
    for (const std::int64_t k : kDepths) expect_bits_of_ref({rows, 33, k});
  }
}

TEST(LinearInt8, DepthsBeyondOneBlockGiveTheSameBits) {
  for (const std::int64_t rows : {1, 20}) {
    for (const std::int64_t k : {1023, 1024, 1025, 1100, 2049}) expect_bits_of_ref({rows, 40, k});
  }
}

TEST(LinearInt8, EveryNumberOfOutputsGivesTheSameBits) {
  for (const std::int64_t rows : {1, 2, 20, 40}) {
    for (const std::int64_t n : kOutputs) expect_bits_of_ref({rows, n, 130});
    for (std::int64_t n = 0; n <= 70; ++n) expect_bits_of_ref({rows, n, 35});
  }
}

TEST(LinearInt8, EveryNumberOfRowsGivesTheSameBits) {
  for (std::int64_t rows = 1; rows <= 70; ++rows) expect_bits_of_ref({rows, 37, 70});
  for (const std::int64_t rows : {100, 255, 257, 513, 1030}) expect_bits_of_ref({rows, 100, 65});
}

TEST(LinearInt8, ManyOutputsGiveTheSameBits) {
  for (const std::int64_t rows : {1, 8, 16}) expect_bits_of_ref({rows, 1501, 300});
}

TEST(LinearInt8, ThresholdWithoutOutliersGivesTheSameBits) {
  for (const std::int64_t rows : {1, 2, 9, 100}) expect_bits_of_ref({rows, 33, 130, 6});
}

TEST(LinearInt8, FewOutlierColumnsAgreeWithRef) {
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 8, 9, 20, 100}) {
    for (const std::int64_t k : kDepths) {
      for (const std::int64_t columns : {1, 6}) {
        if (columns <= k) expect_like_ref({rows, 33, k, 6, columns});
      }
    }
  }
}

TEST(LinearInt8, ManyOutlierColumnsAgreeWithRef) {
  for (const std::int64_t rows : {1, 4, 9, 20, 513}) {
    for (const std::int64_t columns : {63, 64, 65, 130, 256, 257, 300}) {
      expect_like_ref({rows, 33, 576, 6, columns});
    }
  }
}

TEST(LinearInt8, AllColumnsOutliersAgreeWithRef) {
  for (const std::int64_t rows : {1, 8, 9, 20}) {
    for (const std::int64_t k : {1, 3, 64, 65, 130}) expect_like_ref({rows, 40, k, 6, k});
  }
}

TEST(LinearInt8, OutliersOfLaterRowsCountForEarlierOnes) {
  // The one outlier is in the last of 600 rows: its column is a float column in all.
  for (const Isa isa : isas()) {
    const std::int64_t rows = 600;
    const std::int64_t k = 70;
    Machine machine(isa);
    Int8Weight weight(1, k, 1);
    for (std::int64_t i = 0; i < k; ++i) weight.set_code(i, i == 5 ? 127 : 0);
    weight.set_scb(0, 1);
    std::vector<float> x(static_cast<std::size_t>(rows * k), 5.0F);
    for (std::int64_t m = 0; m < rows; ++m) x[static_cast<std::size_t>(m * k + 5)] = 0.01F;
    x[static_cast<std::size_t>((rows - 1) * k + 5)] = 8.0F;
    std::vector<float> y(static_cast<std::size_t>(rows));
    linear(weight.view(), {}, x, rows, y, machine.context());
    // As a code 0.01 of 5 would be 0.
    EXPECT_NEAR(y[0], 0.01F, 1e-6F) << to_string(isa);
    EXPECT_NEAR(y[static_cast<std::size_t>(rows - 1)], 8.0F, 1e-5F) << to_string(isa);
  }
}

TEST(LinearInt8, ResultDoesNotDependOnThreads) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 3, 8, 40, 300}) {
      for (const std::int64_t columns : {0, 6, 100}) {
        const Case c{rows, 700, 515, 6, columns};
        EXPECT_TRUE(same_bits(run(c, isa, 1), run(c, isa, 3))) << describe(c, isa);
      }
    }
  }
}

TEST(LinearInt8, ResultDoesNotDependOnAlignment) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 40}) {
      const auto at_0 = run({rows, 100, 100, 6, 3, 0}, isa);
      for (const std::size_t offset : {1U, 2U, 6U, 32U, 63U}) {
        const Case c{rows, 100, 100, 6, 3, offset};
        EXPECT_TRUE(same_bits(run(c, isa), at_0)) << describe(c, isa) << " at " << offset;
      }
    }
  }
}

TEST(LinearInt8, ZeroRowsGiveTheBias) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 20}) {
      Machine machine(isa);
      Int8Weight weight(9, 33, 1);
      const std::vector<float> x(static_cast<std::size_t>(rows * 33));
      const std::vector<float> bias(9, 2.5F);
      std::vector<float> y(static_cast<std::size_t>(rows * 9));
      linear(weight.view(), bias, x, rows, y, machine.context());
      EXPECT_THAT(y, testing::Each(2.5F)) << to_string(isa);
    }
  }
}

TEST(LinearInt8, NoColumnsGiveTheBias) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 20}) {
      Machine machine(isa);
      const WeightView weight({.quant_type = QuantType::kInt8}, {3, 0}, nullptr, Device{});
      const std::vector<float> bias(3, 2.5F);
      std::vector<float> y(static_cast<std::size_t>(rows * 3));
      linear_int8(std::vector<LinearTask>{{.weight = &weight, .bias = bias, .y = y}}, {}, rows,
                  machine.context());
      EXPECT_THAT(y, testing::Each(2.5F)) << to_string(isa);
    }
  }
}

// What row 1 of x becomes when one of its values is replaced.
std::vector<float> with_value(Isa isa, std::int64_t rows, float value, float threshold) {
  Machine machine(isa);
  Int8Weight weight(5, 33, 1);
  weight.view().compute.llm_int8_threshold = threshold;
  auto x = inputs({rows, 5, 33});
  x[33 + 32] = value;
  std::vector<float> y(static_cast<std::size_t>(rows * 5));
  linear(weight.view(), {}, x, rows, y, machine.context());
  return y;
}

TEST(LinearInt8, NanMakesItsRowNan) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {2, 20}) {
      for (const float threshold : {0.0F, 6.0F}) {
        const auto y = with_value(isa, rows, NAN, threshold);
        for (std::size_t i = 0; i < y.size(); ++i) {
          EXPECT_EQ(std::isnan(y[i]), i / 5 == 1) << to_string(isa) << " " << rows << " " << i;
        }
      }
    }
  }
}

TEST(LinearInt8, InfinityWithoutThresholdMakesItsRowNan) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {2, 20}) {
      const auto y = with_value(isa, rows, 1e6F, 0);  // infinite in float16
      for (std::size_t i = 0; i < y.size(); ++i) {
        EXPECT_EQ(std::isnan(y[i]), i / 5 == 1) << to_string(isa) << " " << rows << " " << i;
      }
    }
  }
}

TEST(LinearInt8, InfinityInFloat16IsAnOutlierLikeAnyOther) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {2, 20}) {
      const auto y = with_value(isa, rows, 1e6F, 6);
      const auto expected = with_value(Isa::kRef, rows, 1e6F, 6);
      EXPECT_THAT(y, testing::Each(testing::Truly([](float v) { return std::isfinite(v); })));
      // Products of about 1e6 times a scale of 1: the last places are another rounding.
      EXPECT_LE(kernel_test::largest_difference(y, expected), 1.0) << to_string(isa);
      EXPECT_GT(std::fabs(y[5]), 1e4F) << to_string(isa);
    }
  }
}

TEST(LinearInt8, RealInfinitiesStayInfiniteOrNan) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {2, 20}) {
      const auto y = with_value(isa, rows, INFINITY, 6);
      for (std::size_t i = 0; i < y.size(); ++i) {
        EXPECT_EQ(std::isfinite(y[i]), i / 5 != 1) << to_string(isa) << " " << rows << " " << i;
      }
    }
  }
}

TEST(LinearInt8, LargestCodesDoNotSaturate) {
  // All products at their largest: -128 · 127 over 4,000 columns.
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 20}) {
      const std::int64_t k = 4000;
      Machine machine(isa);
      Int8Weight weight(3, k, 1);
      for (std::int64_t i = 0; i < 3 * k; ++i) weight.set_code(i, -128);
      for (const int n : {0, 1, 2}) weight.set_scb(n, 127);
      weight.view().compute.llm_int8_threshold = 0;
      const std::vector<float> x(static_cast<std::size_t>(rows * k), 127.0F);
      std::vector<float> y(static_cast<std::size_t>(rows * 3));
      linear(weight.view(), {}, x, rows, y, machine.context());
      EXPECT_THAT(y, testing::Each(-128.0F * 127 * 4000 * (127.0F * 127) * kInt8Constant))
          << to_string(isa);
    }
  }
}

TEST(LinearInt8, SumsBeyondInt32AreExact) {
  const std::int64_t k = kMostInt8Depth + 5;
  Machine machine(detect_isa());
  Int8Weight weight(1, k, 1);
  for (std::int64_t i = 0; i < k; ++i) weight.set_code(i, -128);
  weight.set_scb(0, 1);
  weight.view().compute.llm_int8_threshold = 0;
  const std::vector<float> x(static_cast<std::size_t>(k), 1.0F);
  std::vector<float> y(1);
  linear(weight.view(), {}, x, 1, y, machine.context());
  EXPECT_EQ(y[0], static_cast<float>(std::int64_t{-128} * 127 * k) * kInt8Constant);
}

TEST(LinearInt8, AccumulateAddsToWhatIsThere) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 30}) {
      Machine machine(isa);
      Int8Weight weight(21, 50, 1);
      const auto x = inputs({rows, 21, 50, 6, 2});
      const auto before = random_floats(rows * 21, 3);
      auto y = before;
      const LinearTask task{.weight = &weight.view(), .bias = {}, .y = y, .accumulate = true};
      linear_many({&task, 1}, x, rows, machine.context());
      std::vector<float> product(y.size());
      linear(weight.view(), {}, x, rows, product, machine.context());
      for (std::size_t i = 0; i < y.size(); ++i) {
        EXPECT_EQ(y[i], before[i] + product[i]) << to_string(isa) << " " << i;
      }
    }
  }
}

TEST(LinearInt8, TasksOfOneCallMayDifferInThreshold) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 4, 30}) {
      Machine machine(isa);
      const std::int64_t k = 130;
      const auto x = inputs({rows, 0, k, 6, 7});
      std::vector<Int8Weight> weights;
      std::vector<std::vector<float>> results;
      for (unsigned i = 0; i < 19; ++i) {  // more than one loop takes
        const std::int64_t outputs = 1 + 40 * (i % 5);
        weights.emplace_back(outputs, k, 10U + i);
        weights.back().view().compute.llm_int8_threshold = i % 3 == 0 ? 0.0F : 3.0F * (i % 3);
        weights.back().view().compute.bnb_cpu_constant = i % 2 == 0;
        results.emplace_back(static_cast<std::size_t>(rows * outputs));
      }
      std::vector<LinearTask> tasks;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        tasks.push_back({.weight = &weights[i].view(), .bias = {}, .y = results[i]});
      }
      linear_many(tasks, x, rows, machine.context());
      for (std::size_t i = 0; i < weights.size(); ++i) {
        std::vector<float> alone(results[i].size());
        linear(weights[i].view(), {}, x, rows, alone, machine.context());
        EXPECT_TRUE(same_bits(results[i], alone)) << to_string(isa) << " " << rows << " " << i;
      }
    }
  }
}

TEST(LinearInt8, WorkspaceThatItNamesSuffices) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 8, 9, 40, 600}) {
      for (const std::int64_t k : {3, 300, 5632}) {
        Machine machine(isa, 3, linear_int8_workspace_bytes(rows, k, 3));
        Int8Weight weight(40, k, 1);
        const auto x = inputs({rows, 40, k, 6, k});
        std::vector<float> y(static_cast<std::size_t>(rows * 40));
        const LinearTask task{.weight = &weight.view(), .bias = {}, .y = y};
        EXPECT_NO_THROW(linear_int8({&task, 1}, x, rows, machine.context())) << rows << " " << k;
        EXPECT_EQ(machine.context().workspace.mark(), 0U);
      }
    }
  }
}

}  // namespace
}  // namespace shoehorn
