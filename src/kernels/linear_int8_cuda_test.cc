// linear() on a card with LLM.int8() weights against the processor's reference: the same bits
// without outliers.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/linear_cuda.h"
#include "kernels/testing_linear_cuda.h"

namespace shoehorn {
namespace {

using cuda_test::CardProduct;
using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using cuda_test::multiply;
using cuda_test::multiply_many;
using kernel_test::largest_difference;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

class LinearInt8Cuda : public CudaTest {};

// A weight [n, k] of random codes, -128 among them, and scales, in host memory.
class Int8Weight {
 public:
  Int8Weight(std::int64_t n, std::int64_t k, unsigned seed)
      : layout_(int8_layout(n, k)),
        bytes_(layout_.bytes),
        view_({.quant_type = QuantType::kInt8, .dtype = DType::kF16}, {n, k}, bytes_.data(),
              Device{}) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> code(-128, 127);
    for (std::int64_t i = 0; i < n * k; ++i) {
      bytes_[static_cast<std::size_t>(i)] = static_cast<std::byte>(code(random));
    }
    auto scales = random_floats(n, seed + 1);
    for (float& scale : scales) scale = 0.01F + std::fabs(scale);
    if (n > 0) std::memcpy(bytes_.data() + layout_.scb, scales.data(), scales.size() * 4);
  }
  WeightView view(float threshold = 0) const {
    WeightView view = view_;
    view.compute.llm_int8_threshold = threshold;
    return view;
  }

 private:
  Int8Layout layout_;
  std::vector<std::byte> bytes_;
  WeightView view_;
};

struct Case {
  std::int64_t rows = 1;
  std::int64_t n = 5;
  std::int64_t k = 64;
  float threshold = 0;
  std::int64_t outlier_columns = 0;
  std::size_t weight_offset = 0;
};

std::string describe(const Case& c) {
  std::string text;
  for (const std::int64_t n : {c.rows, c.n, c.k, c.outlier_columns}) {
    text += std::to_string(n) + " ";
  }
  return text + "threshold " + std::to_string(c.threshold);
}

// Normal numbers below 6, with that many columns where some rows hold larger ones.
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

std::vector<float> on_processor(const WeightView& weight, const std::vector<float>& bias,
                                const std::vector<float>& x, std::int64_t rows) {
  Machine machine(Isa::kRef);
  std::vector<float> y(static_cast<std::size_t>(rows * weight.shape[0]));
  linear(weight, bias, x, rows, y, machine.context());
  return y;
}

struct Results {
  std::vector<float> card;
  std::vector<float> processor;
};

Results run(CudaMachine& card, const Case& c) {
  const Int8Weight weight(c.n, c.k, 1);
  const WeightView view = weight.view(c.threshold);
  const auto x = inputs(c);
  const auto bias = random_floats(c.n, 3);
  return {multiply(card, {.weight = &view,
                          .x = x,
                          .rows = c.rows,
                          .bias = bias,
                          .weight_offset = c.weight_offset}),
          on_processor(view, bias, x, c.rows)};
}

void expect_same_bits(CudaMachine& card, const Case& c) {
  const Results results = run(card, c);
  EXPECT_TRUE(same_bits(results.card, results.processor))
      << describe(c) << ": " << largest_difference(results.card, results.processor);
}

// The integers are exact; what is left is a float32 sum of products of outliers, each at most 60 ·
// scale, about 150, in another order.
void expect_close(CudaMachine& card, const Case& c) {
  const Results results = run(card, c);
  EXPECT_LE(largest_difference(results.card, results.processor),
            1e-5 * static_cast<double>(1 + c.outlier_columns))
      << describe(c);
}

TEST_F(LinearInt8Cuda, EveryDepthIsTheSameBits) {
  CudaMachine card;
  for (const std::int64_t k : {1, 3, 15, 16, 17, 63, 64, 65, 130, 576, 2048, 4096, 14336}) {
    for (const std::int64_t rows : {1, 2, 3, 8, 9, 40}) {
      expect_same_bits(card, {.rows = rows, .n = 33, .k = k});
      expect_same_bits(card, {.rows = rows, .n = 33, .k = k, .threshold = 6});
    }
  }
}

TEST_F(LinearInt8Cuda, EveryNumberOfOutputsIsTheSameBits) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 5, 20}) {
    for (std::int64_t n = 0; n <= 35; ++n) expect_same_bits(card, {.rows = rows, .n = n, .k = 96});
    expect_same_bits(card, {.rows = rows, .n = 5003, .k = 128});
  }
}

TEST_F(LinearInt8Cuda, EveryNumberOfRowsIsTheSameBits) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 64, 65, 200}) {
    expect_same_bits(card, {.rows = rows, .n = 48, .k = 128});
  }
}

TEST_F(LinearInt8Cuda, EveryAlignmentIsTheSameBits) {
  CudaMachine card;
  for (const std::size_t offset : {1, 4, 8}) {
    for (const std::int64_t rows : {1, 20}) {
      expect_same_bits(card, {.rows = rows, .n = 40, .k = 256, .weight_offset = offset});
    }
  }
}

TEST_F(LinearInt8Cuda, OutlierColumnsAreFloats) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 2, 4, 8, 9, 70, 130}) {
    for (const std::int64_t columns : {1, 5, 31, 32, 33, 100}) {
      expect_close(card,
                   {.rows = rows, .n = 131, .k = 576, .threshold = 6, .outlier_columns = columns});
    }
  }
  // Every column, and more of them than a block of threads.
  for (const std::int64_t rows : {1, 30}) {
    expect_close(card, {.rows = rows, .n = 20, .k = 2048, .threshold = 6, .outlier_columns = 2048});
  }
}

// More outputs than integer sums are kept of at a time.
TEST_F(LinearInt8Cuda, OutputsComeInParts) {
  CudaMachine card(std::size_t{512} << 20);
  expect_same_bits(card, {.rows = 700, .n = 12'000 + 5, .k = 32});
}

TEST_F(LinearInt8Cuda, NotANumberMakesItsRowOne) {
  CudaMachine card;
  const Int8Weight weight(9, 64, 1);
  const WeightView view = weight.view(6);
  for (const std::int64_t rows : {3, 20}) {
    auto x = random_floats(rows * 64, 2);
    x[64 + 5] = std::numeric_limits<float>::quiet_NaN();
    for (std::size_t i = 0; i < 64; ++i) x[128 + i] = 0;  // and a row of zeros
    x[7] = 1e9F;                                          // infinite in float16: an outlier
    const auto y = multiply(card, {.weight = &view, .x = x, .rows = rows});
    const auto expected = on_processor(view, {}, x, rows);
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (std::isnan(expected[i])) {
        EXPECT_TRUE(std::isnan(y[i])) << i;
      } else {
        EXPECT_LE(std::fabs(y[i] - expected[i]), 1e-5 * (1 + std::fabs(expected[i]))) << i;
      }
    }
    EXPECT_TRUE(std::isnan(y[9]));
  }
}

TEST_F(LinearInt8Cuda, ConstantOfBitsandbytesCpu) {
  CudaMachine card;
  const Int8Weight weight(20, 64, 1);
  WeightView view = weight.view();
  view.compute.bnb_cpu_constant = true;
  for (const std::int64_t rows : {1, 20}) {
    const auto x = random_floats(rows * 64, 2);
    EXPECT_TRUE(same_bits(multiply(card, {.weight = &view, .x = x, .rows = rows}),
                          on_processor(view, {}, x, rows)));
  }
}

TEST_F(LinearInt8Cuda, AddsToWhatIsThere) {
  CudaMachine card;
  const Int8Weight weight(30, 128, 1);
  const WeightView view = weight.view(6);
  for (const std::int64_t rows : {1, 20}) {
    const auto x = random_floats(rows * 128, 2);
    const auto before = random_floats(rows * 30, 4);
    const auto y = multiply(card, {.weight = &view, .x = x, .rows = rows, .add_to = before});
    auto expected = on_processor(view, {}, x, rows);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = before[i] + expected[i];
    EXPECT_TRUE(same_bits(y, expected)) << rows;
  }
}

TEST_F(LinearInt8Cuda, ManyWeightsOfOneXAreAsEachAlone) {
  CudaMachine card;
  const Int8Weight a(300, 96, 1);
  const Int8Weight b(5, 96, 2);
  const Int8Weight c(2001, 96, 3);
  const std::vector<WeightView> views = {a.view(6), b.view(6), c.view(2)};  // thresholds differ
  for (const std::int64_t rows : {1, 20}) {
    const auto x = random_floats(rows * 96, 2);
    std::vector<CardProduct> products;
    for (const WeightView& view : views)
      products.push_back({.weight = &view, .x = x, .rows = rows});
    const auto together = multiply_many(card, products);
    for (std::size_t i = 0; i < products.size(); ++i) {
      EXPECT_TRUE(same_bits(together[i], multiply(card, products[i]))) << rows << " " << i;
    }
  }
}

// The integer sums of one output may not fit 32 bits.
TEST_F(LinearInt8Cuda, DepthsBeyondAnInt32AreExact) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 9})
    expect_same_bits(card, {.rows = rows, .n = 3, .k = 140000});
}

TEST_F(LinearInt8Cuda, WorkspaceIsEnough) {
  for (const std::int64_t rows : {1, 8, 9, 200}) {
    for (const std::int64_t k : {1, 40, 1031}) {
      CudaMachine card(cuda::linear_workspace_bytes(rows, k, 131));
      expect_same_bits(card, {.rows = rows, .n = 131, .k = k, .weight_offset = 1});
    }
  }
}

}  // namespace
}  // namespace shoehorn
