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

/// body(i) of all i from `first` to `end`, shared by the threads of the launch.
template <typename Body>
__device__ void for_items(std::int64_t first, std::int64_t end, const Body& body) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  first += std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (std::int64_t i = first; i < end; i += step) body(i);
}

/// The first `fours` runs of four, then what is left up to `size`.
template <typename Each>
__global__ void for_each(const Each each, const std::int64_t fours, const std::int64_t size) {
  let_next_begin();
  follow();
  for_items(0, fours, [&](std::int64_t i) { each.four(i); });
  for_items(4 * fours, size, [&](std::int64_t i) { each.one(i); });
}

/// Blocks of kEachThreads: a thread an item, and a loop where they are too many.
inline unsigned blocks_for(std::int64_t items, const Queue& queue) {
  const std::int64_t most = std::int64_t{16} * queue.card().multiprocessors;
  return static_cast<unsigned>(
      std::clamp<std::int64_t>(ceil_div(items, std::int64_t{kEachThreads}), 1, most));
}

/// Submits each.one(i) of all i < count, or each.four(i) of four values where each.is_aligned().
template <typename Each>
void run_each(const Each& each, std::size_t count, const Queue& queue, std::string_view name) {
  if (count == 0) return;
  const auto size = static_cast<std::int64_t>(count);
  const std::int64_t fours = each.is_aligned() ? size / 4 : 0;
  queue.make_current();
  launch_following(queue, name, for_each<Each>, blocks_for(fours > 0 ? fours : size, queue),
                   kEachThreads, 0, each, fours, size);
}

}  // namespace shoehorn::cuda
