// What linear() is made of, by instruction set. Internal: linear.cc picks, linear_gemm.cc blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "kernels/linear.h"

namespace shoehorn {

/// Dot products of a few rows of x with stored rows: y[m, n] = sum_k x[m, k] · W[n, k] + bias[n].
struct DotJob {
  const std::byte* weight = nullptr;  // [N, k], row n at weight + n · row_bytes, any alignment
  std::size_t row_bytes = 0;
  std::int64_t k = 0;
  const float* x = nullptr;  // [rows, k]
  std::int64_t rows = 0;
  const float* bias = nullptr;  // [N] or null
  float* y = nullptr;           // [rows, ldy]
  std::int64_t ldy = 0;
  bool accumulate = false;
};

/// Outputs begin <= n < end of a job. Each output is summed in an order that depends on k and rows
/// alone, however the range was cut. Nothing outside the range's rows of W is prefetched: they are
/// another thread's.
using DotPath = void (*)(const DotJob& job, std::int64_t begin, std::int64_t end);

/// Columns of the depth (k) that the matrix product works on at a time, and the distance of widened
/// weight rows: not a power of two, so that rows do not fall on the same cache sets.
inline constexpr std::int64_t kGemmDepth = 256;
inline constexpr std::int64_t kWidenedStride = kGemmDepth + 16;

/// Stored weights that a later call will widen: lines of them are asked for along the way, spread
/// over kGemmDepth turns.
struct NextWeights {
  const std::byte* first = nullptr;  // any readable address where there are none
  std::int64_t row_bytes = 0;        // from row to row; 0 where there are none
  std::int64_t bytes = 0;            // of each row; 0 where there are none
};

/// The pieces of the matrix product. A panel is `width` rows of x side by side: [depth, width].
struct GemmPath {
  std::int64_t width;  // rows of x in a panel
  std::int64_t group;  // weight rows multiplied together
  /// panel[k, m] = x[m, k] for k < depth, m < rows; zeros for rows <= m < width.
  void (*pack)(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t depth,
               float* panel);
  /// c[n, m] (+)= sum_k w[n, k] · panel[k, m] for n < count <= group; w rows kWidenedStride apart,
  /// c rows `width` apart. `first` overwrites. Only lanes m < rows must be right.
  void (*multiply)(const float* w, std::int64_t count, const float* panel, std::int64_t depth,
                   std::int64_t rows, float* c, bool first, const NextWeights& next);
  /// y[m, n] (+)= c[n, m] + bias[n] for n < count, m < rows.
  void (*store)(const float* c, std::int64_t count, std::int64_t rows, const float* bias,
                bool accumulate, float* y, std::int64_t ldy);
};

namespace ref {
void dot_f32(const DotJob& job, std::int64_t begin, std::int64_t end);
void dot_bf16(const DotJob& job, std::int64_t begin, std::int64_t end);
void dot_f16(const DotJob& job, std::int64_t begin, std::int64_t end);
}  // namespace ref

namespace avx2 {
void dot_f32(const DotJob& job, std::int64_t begin, std::int64_t end);
void dot_bf16(const DotJob& job, std::int64_t begin, std::int64_t end);
void dot_f16(const DotJob& job, std::int64_t begin, std::int64_t end);
extern const GemmPath kGemm;
}  // namespace avx2

namespace avx512 {
void dot_f32(const DotJob& job, std::int64_t begin, std::int64_t end);
void dot_bf16(const DotJob& job, std::int64_t begin, std::int64_t end);
void dot_f16(const DotJob& job, std::int64_t begin, std::int64_t end);
extern const GemmPath kGemm;
}  // namespace avx512

/// Rounds each value to bfloat16 or float16, ties to even, or leaves float32 as it is: what a
/// four-bit weight's compute dtype does to activations.
void round_activations(ComputeDtype dtype, std::span<float> values, Isa isa);

/// The blocked product of groups of many rows, at most kMostLinearTasks weights each, x rounded to
/// `activations` first; ctx.isa is not kRef, sizes are checked.
void linear_gemm(std::span<const LinearGroup> groups, ComputeDtype activations, ExecContext& ctx);
/// Its share of linear_workspace_bytes(), for the rows of all groups together.
std::size_t linear_gemm_workspace_bytes(std::int64_t rows, std::int64_t k, int threads);

}  // namespace shoehorn
