// Operations of a CUDA device that work value by value, each an object with two steps: one value,
// and four that are moved by one instruction. Included by .cu files only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cuda/queue.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {

inline constexpr int kEachThreads = 256;

/// {f(a.x), ...}
template <typename F>
__device__ float4 map_four(float4 a, const F& f) {
  return {f(a.x), f(a.y), f(a.z), f(a.w)};
}

/// {f(a.x, b.x), ...}
template <typename F>
__device__ float4 map_four(float4 a, float4 b, const F& f) {
  return {f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w)};
}

/// The first `fours` runs of four, then what is left up to `size`.
template <typename Each>
__global__ void for_each(const Each each, const std::int64_t fours, const std::int64_t size) {
  let_next_begin();
  follow();
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (std::int64_t i = first; i < fours; i += step) each.four(i);
  for (std::int64_t i = 4 * fours + first; i < size; i += step) each.one(i);
}

/// Submits each.one(i) of all i < count, or each.four(i) of four values where each.is_aligned().
template <typename Each>
void run_each(const Each& each, std::size_t count, const Queue& queue, std::string_view name) {
  if (count == 0) return;
  const auto size = static_cast<std::int64_t>(count);
  const std::int64_t fours = each.is_aligned() ? size / 4 : 0;
  // A thread an item, and a loop where they are too many.
  const std::int64_t most = std::int64_t{16} * queue.card().multiprocessors;
  const std::int64_t blocks = ceil_div(fours > 0 ? fours : size, std::int64_t{kEachThreads});
  queue.make_current();
  launch_following(queue, name, for_each<Each>, static_cast<unsigned>(std::min(blocks, most)),
                   kEachThreads, 0, each, fours, size);
}

}  // namespace shoehorn::cuda
