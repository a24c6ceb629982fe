// Integer sums of an LLM.int8() product to outputs: scales, bias, and the product of the outlier
// columns, whose number only the card knows, in tiles of 64 x 64 outputs.
#include <algorithm>

#include "cuda/check.h"
#include "kernels/int8_output_cuda.h"
#include "kernels/lanes_cuda.h"
#include "kernels/weight_loads_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kTile = 64;  // rows, and outputs
constexpr int kSide = 16;  // threads a side of the tile, each with 4 x 4 outputs
constexpr int kEach = kTile / kSide;
constexpr int kColumns = 32;  // outlier columns at a time
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
};

__global__ void __launch_bounds__(kThreads) finish(const __grid_constant__ FinishJob job) {
  // A word more a row: lanes that write a column of a tile meet in no bank.
  __shared__ float x_tile[kColumns][kTile + 1];
  __shared__ float w_tile[kColumns][kTile + 1];
  const int thread = static_cast<int>(threadIdx.x);
  const int column = thread % kSide;
  const int row = thread / kSide;
  const std::int64_t first_row = std::int64_t{blockIdx.y} * kTile;
  const std::int64_t first_output = std::int64_t{blockIdx.x} * kTile;  // of these sums
  const std::int32_t count = *job.in.column_count;

  float outliers[kEach][kEach] = {};
  for (std::int32_t first = 0; first < count; first += kColumns) {
    __syncthreads();
    for (int i = thread; i < kColumns * kTile; i += kThreads) {
      const int c = i % kColumns;
      const int at = i / kColumns;
      const std::int64_t m = first_row + at;
      const std::int64_t n = first_output + at;
      const bool has_column = first + c < count;
      const std::int64_t k = has_column ? job.in.columns[first + c] : 0;
      x_tile[c][at] = has_column && m < job.rows ? job.x[m * job.k + k] : 0.0F;
      w_tile[c][at] = has_column && n < job.sums.count
                          ? int8_weight(job.cb[(job.sums.first + n) * job.k + k],
                                        job.scales.scb_of(job.sums.first + n))
                          : 0.0F;
    }
    __syncthreads();
    for (int c = 0; c < kColumns; ++c) {
      float x[kEach];
      float w[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        x[i] = x_tile[c][row + kSide * i];
        w[i] = w_tile[c][column + kSide * i];
      }
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) outliers[i][j] = __fmaf_rn(x[i], w[j], outliers[i][j]);
      }
    }
  }

#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const std::int64_t in_sums = first_output + column + kSide * j;
    if (in_sums >= job.sums.count) continue;
    const std::int64_t n = job.sums.first + in_sums;
    const float scb = job.scales.scb_of(n);
    const float bias = job.bias != nullptr ? job.bias[n] : 0.0F;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const std::int64_t m = first_row + row + kSide * i;
      if (m >= job.rows) continue;
      const auto sum = static_cast<float>(job.sums.sums[m * job.sums.ld + in_sums]);
      float value = int8_scaled(sum, job.in.stats[m], scb, job.scales.constant);
      if (job.bias != nullptr) value = __fadd_rn(value, bias);
      if (count > 0) value = __fadd_rn(value, outliers[i][j]);
      float* const to = job.y + m * job.n + n;
      *to = job.accumulate ? __fadd_rn(*to, value) : value;
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
  copy_rows<<<static_cast<unsigned>(ceil_div(chunks, kThreads)), kThreads, 0, queue.stream()>>>(
      parts.cb, parts.n, parts.k, first, count, out, ldo);
  check_launch(queue, "copying int8 weights");
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
  queue.make_current();
  finish<<<grid, kThreads, 0, queue.stream()>>>(job);
  check_launch(queue, "linear_int8_finish");
}

}  // namespace shoehorn::cuda
