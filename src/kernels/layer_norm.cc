#include "kernels/layer_norm.h"

#include <cmath>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/ranges.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {
namespace {

// Plain loops over independent sums, which any compiler turns into vectors: a norm is a thousandth
// of a layer's work, so no file an instruction set, and all of them give the same bits.
constexpr std::int64_t kSums = 16;

float total(const float (&sums)[kSums]) {
  float half[kSums / 2];
  for (int i = 0; i < kSums / 2; ++i) half[i] = sums[i] + sums[i + kSums / 2];
  return ((half[0] + half[4]) + (half[1] + half[5])) + ((half[2] + half[6]) + (half[3] + half[7]));
}

float mean_of(const float* x, std::int64_t size) {
  float sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= size; i += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] += x[i + j];
  }
  for (int j = 0; i < size; ++i, ++j) sums[j] += x[i];
  return total(sums) / static_cast<float>(size);
}

float variance_of(const float* x, float mean, std::int64_t size) {
  float sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= size; i += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] += (x[i + j] - mean) * (x[i + j] - mean);
  }
  for (int j = 0; i < size; ++i, ++j) sums[j] += (x[i] - mean) * (x[i] - mean);
  return total(sums) / static_cast<float>(size);
}

void norm_row(const float* x, const float* weight, const float* bias, float eps, std::int64_t size,
              float* y) {
  const float mean = mean_of(x, size);
  const float scale = 1.0F / std::sqrt(variance_of(x, mean, size) + eps);
  for (std::int64_t i = 0; i < size; ++i) y[i] = (x[i] - mean) * scale;
  if (weight != nullptr) {
    for (std::int64_t i = 0; i < size; ++i) y[i] *= weight[i];
  }
  if (bias != nullptr) {
    for (std::int64_t i = 0; i < size; ++i) y[i] += bias[i];
  }
}

}  // namespace

void layer_norm(std::span<const float> x, std::span<const float> weight,
                std::span<const float> bias, float eps, std::int64_t rows, std::int64_t width,
                std::span<float> y, ExecContext& ctx) {
  const auto fits = [&](std::span<const float> weights) {
    return weights.empty() || (width > 0 && static_cast<std::int64_t>(weights.size()) % width == 0);
  };
  if (rows < 0 || width < 1 || static_cast<std::int64_t>(x.size()) != rows * width ||
      y.size() != x.size() || !fits(weight) || !fits(bias)) {
    throw ArgumentError(str_cat("layer_norm: ", rows, " rows of ", width,
                                " values do not match x of ", x.size(), ", y of ", y.size(),
                                ", weight of ", weight.size(), " and bias of ", bias.size()));
  }
  if (ctx.queue != nullptr) return cuda::layer_norm(x, weight, bias, eps, rows, width, y, ctx);
  const auto row_of = [&](std::span<const float> weights, std::int64_t row) -> const float* {
    if (weights.empty()) return nullptr;
    return weights.data() + row % (static_cast<std::int64_t>(weights.size()) / width) * width;
  };
  const std::int64_t grain = 16384 / (width + 1);  // about 10 us
  for_ranges(ctx.pool, rows, grain, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    for (std::int64_t row = begin; row < end; ++row) {
      norm_row(x.data() + row * width, row_of(weight, row), row_of(bias, row), eps, width,
               y.data() + row * width);
    }
  });
}

}  // namespace shoehorn
