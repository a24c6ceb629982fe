// Products of a few rows with GGUF blocks on a CUDA device against double precision.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_test.h"
#include "kernels/testing_gguf.h"
#include "kernels/testing_linear_cuda.h"

namespace shoehorn {
namespace {

using cuda_test::CardProduct;
using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using cuda_test::exact_product;
using cuda_test::multiply;
using cuda_test::multiply_many;
using kernel_test::block_values;
using kernel_test::Blocks;
using kernel_test::BlockType;
using kernel_test::kBlockTypes;
using kernel_test::largest_difference;
using kernel_test::random_floats;
using kernel_test::same_bits;

class LinearGgufCuda : public CudaTest {};

const BlockType& type_of(DType dtype) {
  return *std::ranges::find(kBlockTypes, dtype, &BlockType::dtype);
}

double tolerance(std::int64_t k) {
  return 1e-6 * std::sqrt(static_cast<double>(k)) * 4;
}

TEST_F(LinearGgufCuda, EveryTypeAndNumberOfRows) {
  CudaMachine card;
  for (const BlockType& type : kBlockTypes) {
    for (const std::int64_t blocks : {1, 2, 3, 7, 8, 9, 17}) {
      const std::int64_t k = blocks * block_values(type);
      Blocks weight(type, 37, k, 0);
      const WeightView view = weight.view();
      for (std::int64_t rows = 1; rows <= 8; ++rows) {
        const auto x = random_floats(rows * k, static_cast<unsigned>(rows));
        const auto y = multiply(card, {.weight = &view, .x = x, .rows = rows});
        EXPECT_LE(largest_difference(y, exact_product(x, rows, weight.values(), 37)), tolerance(k))
            << to_string(type.dtype) << " " << k << " " << rows;
      }
    }
  }
}

// One value of x at a time: each code meets the column it belongs to.
TEST_F(LinearGgufCuda, EveryColumnIsWhereItBelongs) {
  CudaMachine card;
  for (const BlockType& type : kBlockTypes) {
    const std::int64_t k = block_values(type) == 32 ? 288 : 512;
    Blocks weight(type, 3, k, 0);
    const WeightView view = weight.view();
    const auto values = weight.values();
    for (std::int64_t first = 0; first < k; first += 8) {
      std::vector<float> x(static_cast<std::size_t>(8 * k));
      for (std::int64_t m = 0; m < 8; ++m) x[static_cast<std::size_t>(m * k + first + m)] = 1;
      const auto y = multiply(card, {.weight = &view, .x = x, .rows = 8});
      for (std::int64_t m = 0; m < 8; ++m) {
        for (std::int64_t n = 0; n < 3; ++n) {
          const float want = values[static_cast<std::size_t>(n * k + first + m)];
          ASSERT_NEAR(y[static_cast<std::size_t>(m * 3 + n)], want, 1e-5)
              << to_string(type.dtype) << " column " << first + m;
        }
      }
    }
  }
}

TEST_F(LinearGgufCuda, EveryNumberOfOutputs) {
  CudaMachine card;
  for (const BlockType& type : {type_of(DType::kQ4_0), type_of(DType::kQ4_K)}) {
    for (const std::int64_t outputs : {1, 2, 3, 15, 16, 17, 127, 600}) {
      const std::int64_t k = 4 * 256;
      Blocks weight(type, outputs, k, 0);
      const WeightView view = weight.view();
      const auto x = random_floats(k, 3);
      EXPECT_LE(largest_difference(multiply(card, {.weight = &view, .x = x}),
                                   exact_product(x, 1, weight.values(), outputs)),
                tolerance(k))
          << outputs;
    }
  }
}

TEST_F(LinearGgufCuda, AddsBiasesAndToWhatIsThere) {
  CudaMachine card;
  for (const BlockType& type : {type_of(DType::kQ8_0), type_of(DType::kQ6_K)}) {
    Blocks weight(type, 50, 256, 0);
    const WeightView view = weight.view();
    const auto x = random_floats(3 * 256, 2);
    const auto bias = random_floats(50, 3);
    const auto before = random_floats(3 * 50, 4, 10);
    const auto y =
        multiply(card, {.weight = &view, .x = x, .rows = 3, .bias = bias, .add_to = before});
    EXPECT_LE(largest_difference(y, exact_product(x, 3, weight.values(), 50, bias, before)),
              tolerance(256));
  }
}

TEST_F(LinearGgufCuda, ManyWeightsOfOneXAreAsEachAlone) {
  CudaMachine card;
  const std::int64_t k = 1024;
  const auto x = random_floats(2 * k, 2);
  std::vector<Blocks> weights;
  std::vector<WeightView> views;
  // Two types in turn: those that are alike share a launch.
  for (const std::int64_t outputs : {64, 8, 100, 3}) {
    weights.emplace_back(type_of(outputs == 8 ? DType::kQ5_K : DType::kQ4_K), outputs, k, 0);
  }
  for (Blocks& weight : weights) views.push_back(weight.view());
  std::vector<CardProduct> products;
  for (const WeightView& view : views) products.push_back({.weight = &view, .x = x, .rows = 2});
  const auto together = multiply_many(card, products);
  for (std::size_t i = 0; i < products.size(); ++i) {
    EXPECT_TRUE(same_bits(together[i], multiply(card, products[i]))) << i;
  }
}

// What is not where words can be read is decoded value by value.
TEST_F(LinearGgufCuda, OffAlignmentIsComputedToo) {
  CudaMachine card;
  for (const BlockType& type : kBlockTypes) {
    Blocks weight(type, 20, 512, 0);
    const WeightView view = weight.view();
    const auto x = random_floats(2 * 512, 5);
    const auto expected = exact_product(x, 2, weight.values(), 20);
    for (const std::size_t offset : {1, 2, 4, 8}) {
      EXPECT_LE(largest_difference(
                    multiply(card, {.weight = &view, .x = x, .rows = 2, .weight_offset = offset}),
                    expected),
                tolerance(512))
          << to_string(type.dtype) << " " << offset;
    }
    EXPECT_LE(largest_difference(
                  multiply(card, {.weight = &view, .x = x, .rows = 2, .x_offset = 1}), expected),
              tolerance(512))
        << to_string(type.dtype);
  }
}

}  // namespace
}  // namespace shoehorn
