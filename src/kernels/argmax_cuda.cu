// The likeliest token of every row of logits, chosen on the card: one number a row is copied to the
// host in place of a vocabulary.
#include <algorithm>

#include "cuda/queue.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/ordered_cuda.h"
#include "kernels/rows_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 256;
// A row is shared by at most so many blocks.
constexpr std::int64_t kMostSplits = 64;
constexpr std::int64_t kValuesPerBlock = 4096;

__device__ std::uint64_t block_max(std::uint64_t key) {
  __shared__ std::uint64_t of_warp[kThreads / kWarp];
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    key = max(key, __shfl_xor_sync(kAllLanes, key, distance));
  }
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = key;
  __syncthreads();
  for (int warp = 0; warp < kThreads / kWarp; ++warp) key = max(key, of_warp[warp]);
  return key;
}

// best[row, split] = the largest key of a run of the row.
__global__ void __launch_bounds__(kThreads)
    best_of_runs(const float* x, const std::int64_t width, std::uint64_t* best) {
  const std::int64_t run = ceil_div(width, gridDim.x);
  const std::int64_t begin = blockIdx.x * run;
  const std::int64_t end = min(begin + run, width);
  const float* const row = x + blockIdx.y * width;
  std::uint64_t key = 0;
#pragma unroll 4
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    key = max(key, ordered_key(row[i], static_cast<std::uint32_t>(i)));
  }
  key = block_max(key);
  if (threadIdx.x == 0) best[blockIdx.y * gridDim.x + blockIdx.x] = key;
}

__global__ void __launch_bounds__(kWarp)
    best_of_rows(const std::uint64_t* best, const int splits, std::int32_t* ids) {
  std::uint64_t key = 0;
  for (int i = static_cast<int>(threadIdx.x); i < splits; i += kWarp) {
    key = max(key, best[std::int64_t{blockIdx.x} * splits + i]);
  }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    key = max(key, __shfl_xor_sync(kAllLanes, key, distance));
  }
  if (threadIdx.x == 0) ids[blockIdx.x] = id_of_key(key);
}

}  // namespace

void argmax(const float* x, std::int64_t rows, std::int64_t width, std::int32_t* ids,
            ExecContext& ctx) {
  if (rows == 0) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  const std::int64_t splits =
      std::clamp<std::int64_t>(ceil_div(width, kValuesPerBlock), 1, kMostSplits);
  const std::size_t mark = ctx.workspace.mark();
  std::uint64_t* const best =
      ctx.workspace.take<std::uint64_t>(static_cast<std::size_t>(rows * splits)).data();
  // gridDim.y ends at 65,535.
  constexpr std::int64_t kMostRows = 32768;
  for (std::int64_t first = 0; first < rows; first += kMostRows) {
    const std::int64_t count = std::min(kMostRows, rows - first);
    const dim3 grid(static_cast<unsigned>(splits), static_cast<unsigned>(count));
    launch_in_turn(queue, "argmax", best_of_runs, grid, kThreads, 0, x + first * width, width,
                   best + first * splits);
  }
  launch_in_turn(queue, "argmax", best_of_rows, static_cast<unsigned>(rows), kWarp, 0, best,
                 static_cast<int>(splits), ids);
  ctx.workspace.release(mark);
}

std::size_t argmax_workspace_bytes(std::int64_t rows) {
  return static_cast<std::size_t>(rows * kMostSplits) * sizeof(std::uint64_t) + 64;
}

}  // namespace shoehorn::cuda
