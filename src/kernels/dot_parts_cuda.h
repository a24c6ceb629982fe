// Several weights in one launch of a dot-product kernel: which of them a block of threads works on,
// and how warps share the outputs. Included by .cu files only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cuda/queue.h"
#include "kernels/lanes_cuda.h"
#include "kernels/linear.h"
#include "kernels/linear_cuda_paths.h"
#include "kernels/linear_pieces.h"

namespace shoehorn::cuda {

inline constexpr int kDotThreads = 256;
inline constexpr int kDotWarps = kDotThreads / kWarp;

/// One weight of a launch.
struct DotPart {
  const std::byte* weight = nullptr;
  const float* bias = nullptr;  // [n] or null
  float* y = nullptr;           // [rows, n]
  std::int64_t n = 0;
  std::int32_t first_block = 0;
  std::int32_t split = 1;  // warps that share the sums of their outputs: 1, 2, 4 or 8
  bool accumulate = false;
};

struct DotParts {
  DotPart at[kMostLinearTasks];
  int count = 0;
  std::int32_t blocks = 0;

  __device__ const DotPart& of_block(unsigned block) const {
    int i = 0;
    while (i + 1 < count && block >= static_cast<unsigned>(at[i + 1].first_block)) ++i;
    return at[i];
  }
};

/// Warps to an output so that the card is filled; none has fewer than two steps of `step` values.
inline std::int32_t split_of(std::int64_t n, std::int64_t k, std::int64_t step, int outputs,
                             const Card& card) {
  constexpr std::int64_t kWantedWarps = 12;  // of a multiprocessor
  const std::int64_t groups = ceil_div(n, outputs);
  std::int32_t split = 1;
  while (split < kDotWarps && groups * split < kWantedWarps * card.multiprocessors &&
         k >= 4 * step * split) {
    split *= 2;
  }
  return split;
}

/// `outputs`: of a group of warps; `step`: values of k that a warp takes at a time.
inline DotParts dot_parts(std::span<const LinearTask> tasks, std::int64_t k, std::int64_t step,
                          int outputs, const Card& card) {
  DotParts parts;
  for (const LinearTask& task : tasks) {
    const std::int64_t n = task.weight->shape[0];
    if (n == 0) continue;
    const std::int32_t split = split_of(n, k, step, outputs, card);
    parts.at[parts.count++] = {.weight = task.weight->data,
                               .bias = task.bias.empty() ? nullptr : task.bias.data(),
                               .y = task.y.data(),
                               .n = n,
                               .first_block = parts.blocks,
                               .split = split,
                               .accumulate = task.accumulate};
    parts.blocks +=
        static_cast<std::int32_t>(ceil_div(n, std::int64_t{kDotWarps / split} * outputs));
  }
  return parts;
}

/// value + bias[n], where there is a bias.
__device__ inline float plus_bias(float value, const float* bias, std::int64_t n) {
  return bias == nullptr ? value : __fadd_rn(value, bias[n]);
}

/// y[m, n] = value + bias, or += where the part says so.
__device__ inline void store_output(const DotPart& part, std::int64_t m, std::int64_t n,
                                    float value) {
  value = plus_bias(value, part.bias, n);
  float* const to = part.y + m * part.n + n;
  *to = part.accumulate ? __fadd_rn(*to, value) : value;
}

/// Adds up the sums of the lanes of a warp, and of `split` neighbouring warps in their order; then
/// the lane i < kOutputs · kRows of the first of them holds sums[i / kRows][i % kRows]. All threads
/// of the block call it. `scratch` [kDotWarps][kOutputs · kRows] of shared memory.
template <int kOutputs, int kRows>
__device__ float collect_sums(const float (&sums)[kOutputs][kRows], int split, float* scratch) {
  constexpr int kCount = kOutputs * kRows;
  static_assert(kCount <= kWarp);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float mine = 0;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const float sum = warp_sum(sums[i / kRows][i % kRows]);
    if (lane == i) mine = sum;
  }
  if (split == 1) return mine;  // the same in all threads of a block
  if (lane < kCount) scratch[warp * kCount + lane] = mine;
  __syncthreads();
  if (warp % split == 0 && lane < kCount) {
    for (int other = 1; other < split; ++other) mine += scratch[(warp + other) * kCount + lane];
  }
  return mine;
}

}  // namespace shoehorn::cuda
