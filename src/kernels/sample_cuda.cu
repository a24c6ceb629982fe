// The k largest of a row, exactly: blocks select them from runs of the row, then one block a row
// selects from what they found and sorts it. Selecting is a radix search for the k-th largest key,
// eight bits at a time from the top; keys differ from each other, so exactly k reach it.
#include <algorithm>
#include <cassert>

#include "cuda/memory.h"
#include "cuda/queue.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/ordered_cuda.h"
#include "kernels/sample_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBins = 256;
static_assert(kThreads == kBins, "a thread a bin");
static_assert(kMostTopK <= kThreads);
// Values of a row that a block selects from: long runs leave the second step little.
constexpr std::int64_t kRun = 4096;
// gridDim.y ends at 65,535.
constexpr std::int64_t kMostRows = 32768;

struct SelectScratch {
  int bins[kBins];
  int of_warp[kThreads / kWarp];
  int digit;
  int above;  // keys in higher bins
  int in_digit;
  int taken;
};

// The keys of a run of logits.
struct Logits {
  const float* x;
  std::int64_t first;  // position in the row of x[0]
  __device__ std::uint64_t operator()(std::int64_t i) const {
    return ordered_key(x[i], static_cast<std::uint32_t>(first + i));
  }
};

struct Keys {
  const std::uint64_t* keys;
  __device__ std::uint64_t operator()(std::int64_t i) const { return keys[i]; }
};

// Thread b has the count of bin 255 - b: finds the bin in which the `wanted`-th largest key lies.
__device__ void find_digit(SelectScratch& scratch, int wanted) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  const int count = scratch.bins[kBins - 1 - thread];
  int sum = count;  // of this bin and those above it
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int below = __shfl_up_sync(kAllLanes, sum, distance);
    if (lane >= distance) sum += below;
  }
  if (lane == kWarp - 1) scratch.of_warp[thread / kWarp] = sum;
  __syncthreads();
  for (int warp = 0; warp < thread / kWarp; ++warp) sum += scratch.of_warp[warp];
  if (sum >= wanted && sum - count < wanted) {
    scratch.digit = kBins - 1 - thread;
    scratch.above = sum - count;
    scratch.in_digit = count;
  }
  __syncthreads();
}

// The key that exactly min(k, numbers) of `count` keys reach; 0, which is no number's key, does not
// count.
template <typename Source>
__device__ std::uint64_t kth_largest(const Source& source, std::int64_t count, int k,
                                     SelectScratch& scratch) {
  const int thread = static_cast<int>(threadIdx.x);
  std::uint64_t prefix = 0;
  int wanted = k;
  for (int shift = 56; shift >= 0; shift -= 8) {
    scratch.bins[thread] = 0;
    if (thread == 0) scratch.digit = -1;
    __syncthreads();
    for (std::int64_t i = thread; i < count; i += kThreads) {
      const std::uint64_t key = source(i);
      // All bits above the digit agree; the first digit has none above.
      const bool agrees = shift == 56 || (key >> (shift + 8)) == (prefix >> (shift + 8));
      if (key != 0 && agrees) atomicAdd(&scratch.bins[key >> shift & (kBins - 1)], 1);
    }
    __syncthreads();
    find_digit(scratch, wanted);
    const int digit = scratch.digit;
    if (digit < 0) return 1;  // fewer than k numbers: take all
    prefix |= static_cast<std::uint64_t>(digit) << shift;
    wanted -= scratch.above;
    if (wanted == scratch.in_digit) return prefix;  // the whole bin is among the k
    __syncthreads();
  }
  return prefix;
}

// Puts the min(k, numbers) largest of `count` keys into `out` [k], in no order, zeros after them.
template <typename Source>
__device__ void select_largest(const Source& source, std::int64_t count, int k, std::uint64_t* out,
                               SelectScratch& scratch) {
  const int thread = static_cast<int>(threadIdx.x);
  const std::uint64_t least = kth_largest(source, count, k, scratch);
  __syncthreads();
  if (thread == 0) scratch.taken = 0;
  __syncthreads();
  for (std::int64_t i = thread; i < count; i += kThreads) {
    const std::uint64_t key = source(i);
    if (key != 0 && key >= least) out[atomicAdd(&scratch.taken, 1)] = key;
  }
  __syncthreads();
  if (thread >= scratch.taken && thread < k) out[thread] = 0;
}

// Grid: runs, rows. found [rows, runs, k].
__global__ void __launch_bounds__(kThreads)
    select_from_runs(const float* x, const std::int64_t width, const int k, std::uint64_t* found) {
  __shared__ SelectScratch scratch;
  const std::int64_t first = blockIdx.x * kRun;
  const Logits logits{.x = x + blockIdx.y * width + first, .first = first};
  select_largest(logits, min(kRun, width - first), k,
                 found + (std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * k, scratch);
}

// Descending; every thread has one key.
__device__ void sort_keys(std::uint64_t* keys) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int size = 2; size <= kThreads; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      __syncthreads();
      const int other = thread ^ distance;
      if (other > thread) {
        const std::uint64_t a = keys[thread];
        const std::uint64_t b = keys[other];
        const bool is_descending = (thread & size) == 0;
        if (is_descending == (a < b)) {
          keys[thread] = b;
          keys[other] = a;
        }
      }
    }
  }
  __syncthreads();
}

// Grid: rows. found [rows, count].
__global__ void __launch_bounds__(kThreads)
    select_from_found(const std::uint64_t* found, const std::int64_t count, const float* x,
                      const std::int64_t width, const int k, float* values, std::int32_t* ids) {
  __shared__ SelectScratch scratch;
  __shared__ std::uint64_t keys[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  keys[thread] = 0;
  __syncthreads();
  select_largest(Keys{found + blockIdx.x * count}, count, k, keys, scratch);
  sort_keys(keys);
  if (thread >= k) return;
  const std::int32_t id = id_of_key(keys[thread]);
  ids[std::int64_t{blockIdx.x} * k + thread] = id;
  values[std::int64_t{blockIdx.x} * k + thread] = id < 0 ? -INFINITY : x[blockIdx.x * width + id];
}

// Grid: rows.
__global__ void __launch_bounds__(kThreads)
    penalize(const float* x, const std::int64_t width, const PenalizedRow* penalized,
             const std::int32_t* ids, float* out) {
  const PenalizedRow row = penalized[blockIdx.x];
  for (std::int64_t i = threadIdx.x; i < row.count; i += kThreads) {
    const std::int32_t id = ids[row.first + i];
    if (id < 0 || id >= width) continue;
    const float logit = x[blockIdx.x * width + id];
    out[blockIdx.x * width + id] = logit < 0 ? logit * row.penalty : logit / row.penalty;
  }
}

}  // namespace

void top_k(const float* x, std::int64_t rows, std::int64_t width, std::int64_t k, float* values,
           std::int32_t* ids, ExecContext& ctx) {
  assert(k >= 1 && k <= kMostTopK);
  if (rows == 0) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  const std::int64_t runs = std::max<std::int64_t>(ceil_div(width, kRun), 1);
  const std::size_t mark = ctx.workspace.mark();
  std::uint64_t* const found =
      ctx.workspace.take<std::uint64_t>(static_cast<std::size_t>(rows * runs * k)).data();
  for (std::int64_t first = 0; first < rows; first += kMostRows) {
    const std::int64_t count = std::min(kMostRows, rows - first);
    const dim3 grid(static_cast<unsigned>(runs), static_cast<unsigned>(count));
    launch_in_turn(queue, "top_k", select_from_runs, grid, kThreads, 0, x + first * width, width,
                   static_cast<int>(k), found + first * runs * k);
  }
  launch_in_turn(queue, "top_k", select_from_found, static_cast<unsigned>(rows), kThreads, 0, found,
                 runs * k, x, width, static_cast<int>(k), values, ids);
  ctx.workspace.release(mark);
}

std::size_t top_k_workspace_bytes(std::int64_t rows, std::int64_t width, std::int64_t k) {
  const std::int64_t runs = std::max<std::int64_t>(ceil_div(width, kRun), 1);
  return static_cast<std::size_t>(rows * runs * k) * sizeof(std::uint64_t) + 64;
}

void apply_repetition_penalty(const float* x, std::int64_t rows, std::int64_t width,
                              const PenalizedRow* penalized, const std::int32_t* ids, float* out,
                              ExecContext& ctx) {
  if (rows == 0 || width == 0) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  copy_async(queue, out, x, static_cast<std::size_t>(rows * width) * sizeof(float));
  launch_in_turn(queue, "apply_repetition_penalty", penalize, static_cast<unsigned>(rows), kThreads,
                 0, x, width, penalized, ids, out);
}

}  // namespace shoehorn::cuda
