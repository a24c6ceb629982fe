// Integer sums of an LLM.int8() product to outputs: scales, bias, and the product of the outlier
// columns, whose number only the card knows, in tiles of 64 x 64 outputs.
#include <algorithm>

#include "kernels/instructions_cuda.h"
#include "kernels/int8_output_cuda.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kTile = 64;  // rows, and outputs
constexpr int kSide = 16;  // threads a side of the tile, each with 4 x 4 outputs
constexpr int kEach = kTile / kSide;
constexpr int kColumns = 32;       // outlier columns at a time
constexpr int kPitch = kTile + 4;  // four words more keep 16 bytes aligned and spread banks
constexpr int kThreads = kSide * kSide;

struct FinishJob {
  Int8Finish sums;
  Int8Scales scales;
  const std::int8_t* cb = nullptr;
  const float* bias = nullptr;
  float* y = nullptr;
  std::int64_t n = 0;
  const float* x = nullptr;
  std::int64_t rows = 0;
  std::int64_t k = 0;
  Int8Rows in;
  bool accumulate = false;

  // What is multiplied for outlier column i of the list.
  __device__ float x_of(std::int32_t i, std::int64_t m) const {
    return i < kCompactColumns ? in.compact[i * rows + m] : x[m * k + in.columns[i]];
  }
  __device__ float weight_of(std::int32_t i, std::int64_t in_sums) const {
    const std::int64_t at = sums.first + in_sums;
    return int8_weight(cb[at * k + in.columns[i]], scales.scb_of(at));
  }
};

// compact[i, :] = the weights of outlier column i, for every output of these sums. Blocks beside
// each other share the outputs, those below each other the columns.
__global__ void __launch_bounds__(kThreads) compact_weights(const __grid_constant__ FinishJob job) {
  let_next_begin();
  follow();
  const std::int32_t count = min(*job.in.column_count, kCompactColumns);
  const std::int64_t in_sums = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (in_sums >= job.sums.count) return;
  for (std::int32_t i = static_cast<std::int32_t>(blockIdx.y); i < count;
       i += static_cast<std::int32_t>(gridDim.y)) {
    job.sums.compact[i * job.sums.count + in_sums] = job.weight_of(i, in_sums);
  }
}

// A thread has four rows and four outputs, side by side. kWide: those are read and written at once.
template <bool kWide>
__global__ void __launch_bounds__(kThreads) finish(const __grid_constant__ FinishJob job) {
  __shared__ __align__(16) float x_tile[kColumns][kPitch];
  __shared__ __align__(16) float w_tile[kColumns][kPitch];
  let_next_begin();
  follow();
  const int thread = static_cast<int>(threadIdx.x);
  const int column = thread % kSide * kEach;
  const int row = thread / kSide * kEach;
  const std::int64_t first_row = std::int64_t{blockIdx.y} * kTile;
  const std::int64_t first_output = std::int64_t{blockIdx.x} * kTile;  // of these sums
  const std::int32_t count = *job.in.column_count;

  float outliers[kEach][kEach] = {};
  for (std::int32_t first = 0; first < count; first += kColumns) {
    const int columns = min(count - first, kColumns);
    __syncthreads();
    for (int i = thread; i < columns * kTile; i += kThreads) {
      const int c = i / kTile;
      const int at = i % kTile;
      const std::int64_t m = first_row + at;
      const std::int64_t n = first_output + at;
      x_tile[c][at] = m < job.rows ? job.x_of(first + c, m) : 0.0F;
      w_tile[c][at] = n >= job.sums.count ? 0.0F
                      : first + c < kCompactColumns
                          ? job.sums.compact[(first + c) * job.sums.count + n]
                          : job.weight_of(first + c, n);
    }
    __syncthreads();
    for (int c = 0; c < columns; ++c) {
      const float4 four_w = *reinterpret_cast<const float4*>(&w_tile[c][column]);
      const float4 four_x = *reinterpret_cast<const float4*>(&x_tile[c][row]);
      const float w[kEach] = {four_w.x, four_w.y, four_w.z, four_w.w};
      const float x[kEach] = {four_x.x, four_x.y, four_x.z, four_x.w};
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) outliers[i][j] = __fmaf_rn(x[i], w[j], outliers[i][j]);
      }
    }
  }

  const std::int64_t in_sums = first_output + column;
  if (in_sums >= job.sums.count) return;
  const std::int64_t n = job.sums.first + in_sums;
  const auto left = static_cast<int>(min(job.sums.count - in_sums, std::int64_t{kEach}));
  float scb[kEach];
  float bias[kEach];
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    scb[j] = j < left ? job.scales.scb_of(n + j) : 0.0F;
    bias[j] = j < left && job.bias != nullptr ? job.bias[n + j] : 0.0F;
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const std::int64_t m = first_row + row + i;
    if (m >= job.rows) return;
    const std::int32_t* const from = job.sums.sums + m * job.sums.ld + in_sums;
    float* const to = job.y + m * job.n + n;
    std::int32_t sums[kEach] = {};
    float values[kEach] = {};
    if constexpr (kWide) {
      const int4 four = *reinterpret_cast<const int4*>(from);
      sums[0] = four.x;
      sums[1] = four.y;
      sums[2] = four.z;
      sums[3] = four.w;
      if (job.accumulate) {
        const float4 before = *reinterpret_cast<const float4*>(to);
        values[0] = before.x;
        values[1] = before.y;
        values[2] = before.z;
        values[3] = before.w;
      }
    } else {
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        if (j >= left) continue;
        sums[j] = from[j];
        if (job.accumulate) values[j] = to[j];
      }
    }
    const float stat = job.in.stats[m];
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      float value = int8_scaled(static_cast<float>(sums[j]), stat, scb[j], job.scales.constant);
      if (job.bias != nullptr) value = __fadd_rn(value, bias[j]);
      if (count > 0) value = __fadd_rn(value, outliers[i][j]);
      values[j] = job.accumulate ? __fadd_rn(values[j], value) : value;
    }
    if constexpr (kWide) {
      *reinterpret_cast<float4*>(to) = {values[0], values[1], values[2], values[3]};
    } else {
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        if (j < left) to[j] = values[j];
      }
    }
  }
}

// 16 codes a thread.
__global__ void copy_rows(const std::int8_t* cb, const std::int64_t n, const std::int64_t k,
                          const std::int64_t first, const std::int64_t count, std::int8_t* out,
                          const std::int64_t ldo) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t chunks = ldo / 16;
  if (i >= count * chunks) return;
  const std::int64_t row = first + i / chunks;
  const std::int64_t column = i % chunks * 16;
  const uint4 codes = row < n ? gather_bytes(cb + row * k + column, k - column) : uint4{0, 0, 0, 0};
  reinterpret_cast<uint4*>(out)[i] = codes;
}

}  // namespace

void copy_codes(const Int8Parts& parts, std::int64_t first, std::int64_t count, std::int8_t* out,
                std::int64_t ldo, const Queue& queue) {
  const std::int64_t chunks = count * (ldo / 16);
  if (chunks == 0) return;
  queue.make_current();
  launch_in_turn(queue, "copying int8 weights", copy_rows,
                 static_cast<unsigned>(ceil_div(chunks, kThreads)), kThreads, 0, parts.cb, parts.n,
                 parts.k, first, count, out, ldo);
}

void int8_finish(const Int8Finish& sums, const LinearTask& task, const Activations& x,
                 const Int8Rows& rows, const Queue& queue) {
  const WeightView& weight = *task.weight;
  const FinishJob job{.sums = sums,
                      .scales = Int8Scales::of(task),
                      .cb = reinterpret_cast<const std::int8_t*>(weight.data),
                      .bias = task.bias.empty() ? nullptr : task.bias.data(),
                      .y = task.y.data(),
                      .n = weight.shape[0],
                      .x = x.x,
                      .rows = x.rows,
                      .k = x.k,
                      .in = rows,
                      .accumulate = task.accumulate};
  const dim3 grid(static_cast<unsigned>(ceil_div(sums.count, kTile)),
                  static_cast<unsigned>(ceil_div(x.rows, kTile)));
  constexpr unsigned kColumnBlocks = 16;
  queue.make_current();
  const bool is_wide = sums.count % kEach == 0 && sums.first % kEach == 0 && sums.ld % kEach == 0 &&
                       job.n % kEach == 0 && are_aligned_16({sums.sums, job.y});
  const dim3 compact_grid(static_cast<unsigned>(ceil_div(sums.count, kThreads)), kColumnBlocks);
  launch_following(queue, "outlier weights", compact_weights, compact_grid, kThreads, 0, job);
  launch_following(queue, "linear_int8_finish", is_wide ? finish<true> : finish<false>, grid,
                   kThreads, 0, job);
}

}  // namespace shoehorn::cuda
