// Rows of x in 8 bits (linear_int8.h): which columns hold outliers, each row's scale, its codes.
#include <algorithm>

#include "cuda/memory.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/linear_int8_cuda_paths.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;

struct RowsJob {
  const float* x = nullptr;
  std::int64_t k = 0;
  std::int64_t rows = 0;
  float threshold = 0;
  Int8Rows out;
};

__device__ float rounded_to_f16(float value) {
  return __half2float(__float2half_rn(value));
}

// The largest magnitude in a block of threads, by its bits: NaNs are above infinity.
__device__ std::uint32_t block_maximum(std::uint32_t bits, std::uint32_t* scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  bits = __reduce_max_sync(kAllLanes, bits);
  __syncthreads();  // the scratch may still be read
  if (threadIdx.x % kWarp == 0) scratch[warp] = bits;
  __syncthreads();
  return __reduce_max_sync(kAllLanes, scratch[threadIdx.x % kWarp]);
}

// Scans row m: marks outlier columns and writes the stat.
__device__ float scan_row(const RowsJob& job, std::int64_t m, std::uint32_t* scratch) {
  const float* const x = job.x + m * job.k;
  std::uint32_t most = 0;
  for (std::int64_t i = threadIdx.x; i < job.k; i += kThreads) {
    const float magnitude = fabsf(rounded_to_f16(x[i]));
    if (magnitude >= job.threshold) {
      job.out.is_column[i] = 1;
    } else {
      most = max(most, __float_as_uint(magnitude));
    }
  }
  const float stat = __uint_as_float(block_maximum(most, scratch));
  if (threadIdx.x == 0) job.out.stats[m] = stat;
  return stat;
}

// Ties to even; 0 for an outlier, and for NaN, of a row of zeros, infinities or NaN.
__device__ std::uint32_t code_of(float value, bool is_outlier, float scale) {
  const float scaled = __fmul_rn(value, scale);
  const int code = is_outlier || isnan(scaled) ? 0 : __float2int_rn(scaled);
  return static_cast<std::uint32_t>(code & 255);
}

// The codes of row m, zero in its outliers, and in all outlier columns where those are known.
template <bool kColumnsKnown>
__device__ void quantize_row(const RowsJob& job, std::int64_t m, float stat) {
  const float* const x = job.x + m * job.k;
  std::int8_t* const q = job.out.q + m * job.out.ldq;
  const float scale = __fmul_rn(__fdiv_rn(1.0F, stat), 127.0F);
  for (std::int64_t i = std::int64_t{threadIdx.x} * 4; i < job.out.ldq; i += kThreads * 4) {
    std::uint32_t codes = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (i + j >= job.k) continue;
      const float value = rounded_to_f16(x[i + j]);
      const bool is_outlier =
          kColumnsKnown ? job.out.is_column[i + j] != 0 : fabsf(value) >= job.threshold;
      codes |= code_of(value, is_outlier, scale) << (8 * j);
    }
    *reinterpret_cast<std::uint32_t*>(q + i) = codes;
  }
}

// Writes the marked columns in ascending order, and their number: 16 columns a thread at a time.
// The flags lie in memory that goes on to a multiple of 16.
__device__ void list_columns(const RowsJob& job, std::int32_t* scratch) {
  constexpr std::int64_t kFlags = 16;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  std::int32_t count = 0;
  for (std::int64_t first = 0; first < job.k; first += kThreads * kFlags) {
    const std::int64_t i = first + threadIdx.x * kFlags;
    std::uint32_t marked = 0;  // a bit a column
    if (i < job.k) {
      const uint4 flags = *reinterpret_cast<const uint4*>(job.out.is_column + i);
      const std::uint32_t words[4] = {flags.x, flags.y, flags.z, flags.w};
#pragma unroll
      for (int j = 0; j < kFlags; ++j) {
        const bool is_column = (words[j / 4] >> (8 * (j % 4)) & 255U) != 0 && i + j < job.k;
        marked |= (is_column ? 1U : 0U) << j;
      }
    }
    if (__syncthreads_or(marked != 0 ? 1 : 0) == 0) continue;
    const std::int32_t mine = __popc(marked);
    std::int32_t up_to = mine;  // of this warp, this lane included
#pragma unroll
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const std::int32_t before = __shfl_up_sync(kAllLanes, up_to, distance);
      if (lane >= distance) up_to += before;
    }
    if (lane == kWarp - 1) scratch[warp] = up_to;
    __syncthreads();
    std::int32_t to = count + up_to - mine;
    for (int other = 0; other < kWarps; ++other) {
      if (other < warp) to += scratch[other];
      count += scratch[other];
    }
    for (; marked != 0; marked &= marked - 1) {
      job.out.columns[to++] = static_cast<std::int32_t>(i) + __ffs(static_cast<int>(marked)) - 1;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) *job.out.column_count = count;
}

// A few rows: one block of threads does it all, in one launch.
__global__ void __launch_bounds__(kThreads) quantize_few(const RowsJob job) {
  let_next_begin();
  follow();
  __shared__ std::uint32_t maxima[kWarps];
  __shared__ std::int32_t counts[kWarps];
  __shared__ float stats[kMostDotRows];
  for (std::int64_t i = threadIdx.x; i < job.k; i += kThreads) job.out.is_column[i] = 0;
  __syncthreads();
  for (int m = 0; m < static_cast<int>(job.rows); ++m) {
    const float stat = scan_row(job, m, maxima);
    if (threadIdx.x == 0) stats[m] = stat;
  }
  __syncthreads();
  list_columns(job, counts);
  for (int m = 0; m < static_cast<int>(job.rows); ++m) quantize_row<true>(job, m, stats[m]);
}

// Many rows: a block for each row; columns that another row's outliers mark are cleared later.
__global__ void __launch_bounds__(kThreads) quantize_each(const RowsJob job) {
  let_next_begin();
  follow();
  __shared__ std::uint32_t maxima[kWarps];
  const float stat = scan_row(job, blockIdx.x, maxima);
  quantize_row<false>(job, blockIdx.x, stat);
}

__global__ void __launch_bounds__(kThreads) list_all(const RowsJob job) {
  let_next_begin();
  follow();
  __shared__ std::int32_t counts[kWarps];
  list_columns(job, counts);
}

// A block for each row: codes of outlier columns become zero, their values are put side by side.
__global__ void clear_columns(const RowsJob job) {
  let_next_begin();
  follow();
  const std::int64_t m = blockIdx.x;
  const std::int32_t count = *job.out.column_count;
  for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < count;
       i += static_cast<std::int32_t>(blockDim.x)) {
    const std::int32_t column = job.out.columns[i];
    job.out.q[m * job.out.ldq + column] = 0;
    if (i < kCompactColumns) job.out.compact[i * job.rows + m] = job.x[m * job.k + column];
  }
}

// quantize_each for rows of up to kMostFours · 4 · kThreads values, 16-byte aligned and whole
// groups of four: they stay in registers between the two passes.
constexpr int kMostFours = 4;
__global__ void __launch_bounds__(kThreads) quantize_fours(const RowsJob job) {
  __shared__ std::uint32_t maxima[kWarps];
  let_next_begin();
  follow();
  const std::int64_t m = blockIdx.x;
  const auto fours = static_cast<int>(job.k / 4);
  const auto* const row = reinterpret_cast<const float4*>(job.x + m * job.k);
  float values[kMostFours][4];
  std::uint32_t most = 0;
#pragma unroll
  for (int j = 0; j < kMostFours; ++j) {
    const int i = static_cast<int>(threadIdx.x) + j * kThreads;
    const float4 four = i < fours ? row[i] : float4{};
    values[j][0] = rounded_to_f16(four.x);
    values[j][1] = rounded_to_f16(four.y);
    values[j][2] = rounded_to_f16(four.z);
    values[j][3] = rounded_to_f16(four.w);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const float magnitude = fabsf(values[j][c]);
      if (magnitude >= job.threshold) {
        job.out.is_column[4 * i + c] = 1;
      } else {
        most = max(most, __float_as_uint(magnitude));
      }
    }
  }
  const float stat = __uint_as_float(block_maximum(most, maxima));
  if (threadIdx.x == 0) job.out.stats[m] = stat;
  const float scale = __fmul_rn(__fdiv_rn(1.0F, stat), 127.0F);
  std::int8_t* const q = job.out.q + m * job.out.ldq;
#pragma unroll
  for (int j = 0; j < kMostFours; ++j) {
    const int i = static_cast<int>(threadIdx.x) + j * kThreads;
    if (i >= fours) continue;
    std::uint32_t codes = 0;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      codes |= code_of(values[j][c], fabsf(values[j][c]) >= job.threshold, scale) << (8 * c);
    }
    *reinterpret_cast<std::uint32_t*>(q + 4 * i) = codes;
  }
}

}  // namespace

void quantize_rows(const Activations& x, float threshold, const Int8Rows& rows,
                   const Queue& queue) {
  const RowsJob job{.x = x.x, .k = x.k, .rows = x.rows, .threshold = threshold, .out = rows};
  queue.make_current();
  if (x.rows <= kMostDotRows) {
    return launch_following(queue, "quantize_rows", quantize_few, 1, kThreads, 0, job);
  }
  fill_async(queue, rows.is_column, 0, static_cast<std::size_t>(x.k));
  const auto blocks = static_cast<unsigned>(x.rows);
  const bool is_wide =
      x.k % kInt8RowAlignment == 0 && x.k <= kMostFours * 4 * kThreads && are_aligned_16({x.x});
  launch_following(queue, "quantize_rows", is_wide ? quantize_fours : quantize_each, blocks,
                   kThreads, 0, job);
  launch_following(queue, "outlier columns", list_all, 1, kThreads, 0, job);
  launch_following(queue, "outlier columns", clear_columns, blocks, 64, 0, job);
}

}  // namespace shoehorn::cuda
