// Dot products of a few rows of codes with LLM.int8() weights, four products an instruction, and
// the products of outliers, which are looked up column by column.
#include <type_traits>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/dot_parts_cuda.h"
#include "kernels/instructions_cuda.h"
#include "kernels/int8_output_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kCodes = 16;  // in 16 bytes
constexpr std::int64_t kMostLaneDepth = kMostInt8Depth * kWarp;

struct Int8DotJob {
  DotParts parts;  // weight: CB
  Int8Scales scales[kMostLinearTasks];
  const float* x = nullptr;
  Int8Rows in;
  int rows = 0;
  int k = 0;
};

__device__ int dot_of_16(const uint4& a, const uint4& b, int sum) {
  sum = __dp4a(static_cast<int>(a.x), static_cast<int>(b.x), sum);
  sum = __dp4a(static_cast<int>(a.y), static_cast<int>(b.y), sum);
  sum = __dp4a(static_cast<int>(a.z), static_cast<int>(b.z), sum);
  return __dp4a(static_cast<int>(a.w), static_cast<int>(b.w), sum);
}

// The sum over a warp: kWide where it may not fit 32 bits, though each lane's part does.
template <bool kWide>
__device__ auto warp_total(int sum) {
  if constexpr (kWide) {
    std::int64_t total = sum;
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      total += __shfl_xor_sync(kAllLanes, total, distance);
    }
    return total;
  } else {
    return __reduce_add_sync(kAllLanes, sum);
  }
}

// kAligned: rows of CB begin at multiples of 16 bytes; codes of x always do.
template <int kRows, int kOutputs, bool kAligned, bool kWide>
__global__ void __launch_bounds__(kDotThreads) dot_int8(const __grid_constant__ Int8DotJob job) {
  using Total = std::conditional_t<kWide, std::int64_t, int>;
  constexpr int kCount = kOutputs * kRows;
  constexpr int kSteps = 8 / kOutputs;
  __shared__ Total totals[kDotWarps * kCount];
  let_next_begin();
  const DotPart& part = job.parts.of_block(blockIdx.x);
  const Int8Scales& scales = job.scales[&part - job.parts.at];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int split = part.split;
  const std::int64_t group =
      std::int64_t{blockIdx.x - static_cast<unsigned>(part.first_block)} * (kDotWarps / split) +
      warp / split;
  const std::int8_t* weights[kOutputs];
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const std::int64_t n = group * kOutputs + o;
    weights[o] =
        reinterpret_cast<const std::int8_t*>(part.weight) + (n < part.n ? n : part.n - 1) * job.k;
  }

  int sums[kOutputs][kRows] = {};
  const int chunks = (job.k + kCodes - 1) / kCodes;
  const int stride = split * kWarp;
  bool has_followed = false;
  for (int chunk = warp % split * kWarp + lane; chunk < chunks; chunk += kSteps * stride) {
    uint4 bytes[kSteps][kOutputs];
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int at = chunk + s * stride;
      if (at >= chunks) continue;
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
        bytes[s][o] = kAligned ? load_once(weights[o] + at * kCodes)
                               : gather_bytes(weights[o] + at * kCodes, job.k - at * kCodes);
      }
    }
    // The first weights are on their way before the codes of x are there.
    if (!has_followed) follow();
    has_followed = true;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int at = chunk + s * stride;
      if (at >= chunks) continue;
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        const uint4 q = *reinterpret_cast<const uint4*>(
            job.in.q + (m < job.rows ? m : 0) * job.in.ldq + at * kCodes);
#pragma unroll
        for (int o = 0; o < kOutputs; ++o) sums[o][m] = dot_of_16(bytes[s][o], q, sums[o][m]);
      }
    }
  }

  if (!has_followed) follow();
  Total mine = 0;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const Total total = warp_total<kWide>(sums[i / kRows][i % kRows]);
    if (lane == i) mine = total;
  }
  if (split > 1) {  // the same in all threads of a block
    if (lane < kCount) totals[warp * kCount + lane] = mine;
    __syncthreads();
    if (warp % split != 0) return;
    if (lane < kCount) {
      for (int other = 1; other < split; ++other) mine += totals[(warp + other) * kCount + lane];
    }
  }

  // Outliers: lanes share the columns.
  float outliers = 0;
  const std::int32_t column_count = *job.in.column_count;
  if (column_count > 0) {
    float products[kOutputs][kRows] = {};
    float scb[kOutputs];
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      const std::int64_t n = group * kOutputs + o;
      scb[o] = scales.scb_of(n < part.n ? n : part.n - 1);
    }
    for (std::int32_t i = lane; i < column_count; i += kWarp) {
      const std::int32_t column = job.in.columns[i];
      float w[kOutputs];
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) w[o] = int8_weight(weights[o][column], scb[o]);
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        const float x = job.x[std::int64_t{m < job.rows ? m : 0} * job.k + column];
#pragma unroll
        for (int o = 0; o < kOutputs; ++o) products[o][m] = __fmaf_rn(x, w[o], products[o][m]);
      }
    }
    outliers = collect_sums<kOutputs, kRows>(products, 1, nullptr);
  }
  const int m = lane % kRows;
  const std::int64_t n = group * kOutputs + lane / kRows;
  if (lane >= kCount || m >= job.rows || n >= part.n) return;
  float value =
      int8_scaled(static_cast<float>(mine), job.in.stats[m], scales.scb_of(n), scales.constant);
  if (part.bias != nullptr) value = __fadd_rn(value, part.bias[n]);
  if (column_count > 0) value = __fadd_rn(value, outliers);
  float* const to = part.y + m * part.n + n;
  *to = part.accumulate ? __fadd_rn(*to, value) : value;
}

template <int kRows, int kOutputs>
void run_dot(std::span<const LinearTask> tasks, const Activations& x, const Int8Rows& rows,
             const Queue& queue) {
  Int8DotJob job{.parts = dot_parts(tasks, x.k, kCodes * kWarp, kOutputs, queue.card()),
                 .x = x.x,
                 .in = rows,
                 .rows = static_cast<int>(x.rows),
                 .k = static_cast<int>(x.k)};
  if (job.parts.blocks == 0) return;
  bool is_aligned_all = x.k % kCodes == 0;
  int count = 0;
  for (const LinearTask& task : tasks) {
    if (task.weight->shape[0] == 0) continue;
    is_aligned_all &= is_aligned(task.weight->data, 16);
    job.scales[count++] = Int8Scales::of(task);
  }
  const bool is_wide = x.k > kMostInt8Depth;
  const auto kernel = is_wide          ? dot_int8<kRows, kOutputs, false, true>
                      : is_aligned_all ? dot_int8<kRows, kOutputs, true, false>
                                       : dot_int8<kRows, kOutputs, false, false>;
  queue.make_current();
  launch_following(queue, "linear_int8_dot", kernel, static_cast<unsigned>(job.parts.blocks),
                   kDotThreads, 0, job);
}

}  // namespace

void int8_dot(std::span<const LinearTask> tasks, const Activations& x, const Int8Rows& rows,
              const Queue& queue) {
  if (x.k > kMostLaneDepth) {
    throw UnsupportedError(str_cat("int8 weights of ", x.k, " columns on a CUDA device; up to ",
                                   kMostLaneDepth, " are multiplied"));
  }
  if (x.rows == 1) return run_dot<1, 2>(tasks, x, rows, queue);
  if (x.rows == 2) return run_dot<2, 2>(tasks, x, rows, queue);
  if (x.rows <= 4) return run_dot<4, 4>(tasks, x, rows, queue);
  run_dot<8, 4>(tasks, x, rows, queue);
}

}  // namespace shoehorn::cuda
