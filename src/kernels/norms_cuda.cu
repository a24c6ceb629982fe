// RMS and layer norms on a CUDA device: a block a row, or a warp where rows are as short as heads.
// Each has a path of 16-byte moves that keeps the row in registers, and one for any length and
// alignment.
#include <algorithm>
#include <string_view>

#include "cuda/queue.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/rows_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kMostFours = 4;  // runs of four values that a thread keeps
constexpr int kShortThreads = 128;
constexpr std::int64_t kShortWidth = 4 * kMostFours * kWarp;

struct Norm {
  const float* x;
  const float* weight;  // null: ones
  const float* bias;    // null: none
  float* y;
  std::int64_t rows;
  std::int64_t width;
  std::int64_t weight_rows;  // row m takes row m mod these
  std::int64_t bias_rows;
  float weight_offset;
  float eps;
};

// Sums over the threads that share a row.
struct SumOfWarp {
  __device__ float operator()(float value) { return warp_sum(value); }
};
struct SumOfBlock {
  float (*scratch)[kWarp];  // one a sum
  __device__ float operator()(float value) { return block_sum(value, *scratch++); }
};

__device__ float4 plus(float4 a, float b) {
  return {a.x + b, a.y + b, a.z + b, a.w + b};
}

// Thread `first` of `step` that share a row, which stays in their registers: kFours runs of four
// each. kCentered: the mean is taken away first.
template <bool kCentered, int kFours, typename Sum>
__device__ void norm_fours(const Norm& norm, std::int64_t row, int first, int step, Sum sum) {
  const int fours = static_cast<int>(norm.width / 4);
  const auto row_of = [&](const float* values, std::int64_t at) {
    return reinterpret_cast<const float4*>(values + at * norm.width);
  };
  const float4* const from = row_of(norm.x, row);
  auto* const to = reinterpret_cast<float4*>(norm.y + row * norm.width);
  float4 values[kFours];
  float4 weights[kFours];
  // Several rows of weights may have been put together by the kernel before.
  if (norm.weight_rows > 1) follow();
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const int i = first + j * step;
    weights[j] = {1, 1, 1, 1};
    if (i < fours && norm.weight != nullptr) {
      weights[j] = plus(row_of(norm.weight, row % norm.weight_rows)[i], norm.weight_offset);
    }
  }
  follow();
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const int i = first + j * step;
    values[j] = i < fours ? from[i] : float4{};
  }
  const auto width = static_cast<float>(norm.width);
  if constexpr (kCentered) {
    float total = 0;
#pragma unroll
    for (int j = 0; j < kFours; ++j) {
      const float4 v = values[j];
      total += (v.x + v.y) + (v.z + v.w);
    }
    const float mean = sum(total) / width;
#pragma unroll
    for (int j = 0; j < kFours; ++j) {
      if (first + j * step < fours) values[j] = plus(values[j], -mean);
    }
  }
  float squares = 0;
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const float4 v = values[j];
    squares += (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
  }
  const float scale = 1.0F / sqrtf(sum(squares) / width + norm.eps);
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const int i = first + j * step;
    if (i >= fours) continue;
    const float4 v = values[j];
    const float4 w = weights[j];
    float4 y = {w.x * (v.x * scale), w.y * (v.y * scale), w.z * (v.z * scale), w.w * (v.w * scale)};
    if (norm.bias != nullptr) {
      const float4 b = row_of(norm.bias, row % norm.bias_rows)[i];
      y = {y.x + b.x, y.y + b.y, y.z + b.z, y.w + b.w};
    }
    to[i] = y;
  }
}

// The same of a row of any length and alignment.
template <bool kCentered, typename Sum>
__device__ void norm_values(const Norm& norm, std::int64_t row, int first, int step, Sum sum) {
  follow();
  const std::int64_t width = norm.width;
  const float* const from = norm.x + row * width;
  float* const to = norm.y + row * width;
  float mean = 0;
  if constexpr (kCentered) {
    float total = 0;
    for (std::int64_t i = first; i < width; i += step) total += from[i];
    mean = sum(total) / static_cast<float>(width);
  }
  float squares = 0;
  for (std::int64_t i = first; i < width; i += step) {
    squares += (from[i] - mean) * (from[i] - mean);
  }
  const float scale = 1.0F / sqrtf(sum(squares) / static_cast<float>(width) + norm.eps);
  const float* const weight =
      norm.weight == nullptr ? nullptr : norm.weight + row % norm.weight_rows * width;
  const float* const bias =
      norm.bias == nullptr ? nullptr : norm.bias + row % norm.bias_rows * width;
  for (std::int64_t i = first; i < width; i += step) {
    float y = (from[i] - mean) * scale;
    if (weight != nullptr) y *= weight[i] + norm.weight_offset;
    if (bias != nullptr) y += bias[i];
    to[i] = y;
  }
}

// kFours 0: any row.
template <bool kCentered, int kFours, typename Sum>
__device__ void norm_row(const Norm& norm, std::int64_t row, int first, int step, Sum sum) {
  if constexpr (kFours > 0) {
    norm_fours<kCentered, kFours>(norm, row, first, step, sum);
  } else {
    norm_values<kCentered>(norm, row, first, step, sum);
  }
}

// A block a row.
template <bool kCentered, int kFours>
__global__ void __launch_bounds__(kMostThreads) norm_rows(const Norm norm) {
  let_next_begin();
  __shared__ float scratch[2][kWarp];
  norm_row<kCentered, kFours>(norm, blockIdx.x, static_cast<int>(threadIdx.x),
                              static_cast<int>(blockDim.x), SumOfBlock{scratch});
}

// A warp a row.
template <bool kCentered, int kFours>
__global__ void __launch_bounds__(kShortThreads) norm_short_rows(const Norm norm) {
  let_next_begin();
  const auto thread = static_cast<int>(threadIdx.x);
  const std::int64_t row = std::int64_t{blockIdx.x} * (kShortThreads / kWarp) + thread / kWarp;
  if (row >= norm.rows) return follow();
  norm_row<kCentered, kFours>(norm, row, thread % kWarp, kWarp, SumOfWarp{});
}

template <bool kCentered>
void run_norm(const Norm& norm, const Queue& queue, std::string_view name) {
  if (norm.rows == 0 || norm.width == 0) return;
  queue.make_current();
  const std::int64_t fours = norm.width / 4;
  const bool is_wide =
      norm.width % 4 == 0 && are_aligned_16({norm.x, norm.weight, norm.bias, norm.y});
  // Width and alignment alone decide, so that a row's sum does not depend on how many rows there
  // are.
  if (norm.width <= kShortWidth) {
    auto* const kernel = !is_wide         ? norm_short_rows<kCentered, 0>
                         : fours <= kWarp ? norm_short_rows<kCentered, 1>
                                          : norm_short_rows<kCentered, kMostFours>;
    const std::int64_t blocks = ceil_div(norm.rows, std::int64_t{kShortThreads / kWarp});
    return launch_following(queue, name, kernel, static_cast<unsigned>(blocks), kShortThreads, 0,
                            norm);
  }
  // Whole warps.
  const auto threads_for = [](std::int64_t items) {
    return static_cast<unsigned>(
        std::min<std::int64_t>(ceil_div(items, kWarp) * kWarp, kMostThreads));
  };
  const auto grid = static_cast<unsigned>(norm.rows);
  if (!is_wide || fours > kMostThreads * kMostFours) {
    launch_following(queue, name, norm_rows<kCentered, 0>, grid, threads_for(norm.width), 0, norm);
  } else if (fours <= kMostThreads) {
    launch_following(queue, name, norm_rows<kCentered, 1>, grid, threads_for(fours), 0, norm);
  } else {
    launch_following(queue, name, norm_rows<kCentered, kMostFours>, grid,
                     threads_for(ceil_div(fours, kMostFours)), 0, norm);
  }
}

}  // namespace

void rms_norm(std::span<const float> x, std::span<const float> weight, float weight_offset,
              float eps, std::int64_t rows, std::span<float> y, ExecContext& ctx) {
  const Norm norm{.x = x.data(),
                  .weight = weight.data(),
                  .bias = nullptr,
                  .y = y.data(),
                  .rows = rows,
                  .width = static_cast<std::int64_t>(weight.size()),
                  .weight_rows = 1,
                  .bias_rows = 1,
                  .weight_offset = weight_offset,
                  .eps = eps};
  run_norm</*kCentered=*/false>(norm, *ctx.queue, "rms_norm");
}

void layer_norm(std::span<const float> x, std::span<const float> weight,
                std::span<const float> bias, float eps, std::int64_t rows, std::int64_t width,
                std::span<float> y, ExecContext& ctx) {
  const auto data = [](std::span<const float> values) {
    return values.empty() ? nullptr : values.data();
  };
  const Norm norm{.x = x.data(),
                  .weight = data(weight),
                  .bias = data(bias),
                  .y = y.data(),
                  .rows = rows,
                  .width = width,
                  .weight_rows = static_cast<std::int64_t>(weight.size()) / width,
                  .bias_rows = static_cast<std::int64_t>(bias.size()) / width,
                  .weight_offset = 0,
                  .eps = eps};
  run_norm</*kCentered=*/true>(norm, *ctx.queue, "layer_norm");
}

}  // namespace shoehorn::cuda
