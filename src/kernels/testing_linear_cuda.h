// For the tests of linear() on CUDA devices: a weight of the host's memory multiplied on the card,
// and what double precision says of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda_test.h"
#include "kernels/decode_weight.h"
#include "kernels/kernel_test.h"
#include "kernels/linear.h"
#include "tensor/half.h"

namespace shoehorn::cuda_test {

struct CardProduct {
  const WeightView* weight = nullptr;  // in host memory
  std::span<const float> x = {};
  std::int64_t rows = 1;
  std::span<const float> bias = {};    // may be empty
  std::span<const float> add_to = {};  // y before, then added to; may be empty
  std::size_t weight_offset = 0;       // bytes off alignment
  std::size_t x_offset = 0;            // floats
};

inline std::span<const std::byte> weight_bytes(const WeightView& weight) {
  return {weight.data, form_bytes(weight.form, weight.shape).value()};
}

/// Several weights of one x in one linear_many().
inline std::vector<std::vector<float>> multiply_many(CudaMachine& card,
                                                     const std::vector<CardProduct>& products) {
  const CardProduct& first = products.front();
  const auto x = card.upload(first.x, first.x_offset);
  std::vector<CardArray<std::byte>> bytes;
  std::vector<CardArray<float>> biases;
  std::vector<CardArray<float>> results;
  std::vector<WeightView> views;
  for (const CardProduct& product : products) {
    bytes.push_back(card.upload(weight_bytes(*product.weight), product.weight_offset));
    biases.push_back(card.upload(product.bias));
    const auto outputs = static_cast<std::size_t>(first.rows * product.weight->shape[0]);
    results.push_back(product.add_to.empty() ? card.make<float>(outputs)
                                             : card.upload(product.add_to));
    views.push_back(*product.weight);
    views.back().data = bytes.back().data();
  }
  std::vector<LinearTask> tasks;
  for (std::size_t i = 0; i < products.size(); ++i) {
    tasks.push_back({.weight = &views[i],
                     .bias = products[i].bias.empty() ? std::span<const float>{}
                                                      : std::span<const float>(biases[i].span()),
                     .y = results[i].span(),
                     .accumulate = !products[i].add_to.empty()});
  }
  const std::size_t mark = card.context().workspace.mark();
  linear_many(tasks, x.span(), first.rows, card.context());
  EXPECT_EQ(card.context().workspace.mark(), mark) << "workspace was kept";
  std::vector<std::vector<float>> out;
  for (const auto& result : results) out.push_back(card.download(result));
  return out;
}

inline std::vector<float> multiply(CudaMachine& card, const CardProduct& product) {
  return multiply_many(card, {product}).front();
}

/// Values as they are after rounding to `dtype` and back.
inline std::vector<float> rounded(ComputeDtype dtype, std::vector<float> values) {
  for (float& value : values) {
    if (dtype == ComputeDtype::kBF16) value = bf16_to_f32(f32_to_bf16(value));
    if (dtype == ComputeDtype::kF16) value = f16_to_f32(f32_to_f16(value));
  }
  return values;
}

/// All values of a weight, as decode_columns() gives them.
inline std::vector<float> values_of(const WeightView& weight) {
  const std::int64_t k = weight.shape[1];
  std::vector<float> values(static_cast<std::size_t>(weight.shape.elements()));
  for (std::int64_t n = 0; n < weight.shape[0]; ++n) {
    if (k > 0) decode_columns(weight, n, 0, k, values.data() + n * k, Isa::kRef);
  }
  return values;
}

/// The product in double precision, rounded once.
inline std::vector<float> exact_product(std::span<const float> x, std::int64_t rows,
                                        std::span<const float> weights, std::int64_t outputs,
                                        std::span<const float> bias = {},
                                        std::span<const float> add_to = {}) {
  const std::int64_t k = static_cast<std::int64_t>(x.size()) / rows;
  std::vector<float> y(static_cast<std::size_t>(rows * outputs));
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < outputs; ++n) {
      double sum = bias.empty() ? 0.0 : bias[static_cast<std::size_t>(n)];
      for (std::int64_t i = 0; i < k; ++i) {
        sum += static_cast<double>(x[static_cast<std::size_t>(m * k + i)]) *
               weights[static_cast<std::size_t>(n * k + i)];
      }
      const auto at = static_cast<std::size_t>(m * outputs + n);
      if (!add_to.empty()) sum += add_to[at];
      y[at] = static_cast<float>(sum);
    }
  }
  return y;
}

}  // namespace shoehorn::cuda_test
