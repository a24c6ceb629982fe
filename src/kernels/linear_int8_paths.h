// What linear_int8() is made of, by instruction set. Internal: linear_int8.cc picks,
// linear_int8_gemm.cc blocks. Integer sums are exact in every path; what follows them is the same
// float32 arithmetic, but for the order in which the products of outliers are summed.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "kernels/linear.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// 1 / 127^2, and what bitsandbytes' CPU code has in its place.
inline constexpr float kInt8Constant = 1.0F / 16129;
inline constexpr float kInt8BnbCpuConstant = 6.200124e-05F;
/// bitsandbytes' int8_vectorwise_dequant: the decimal that stands for 1/127 there.
inline constexpr float kInt8Inverse127 = 0.007874015718698502F;
/// Beyond this K a sum of products of codes might not fit an int32; 128 because CB is data.
inline constexpr std::int64_t kMostInt8Depth = 0x7FFFFFFF / (128 * 127);
/// Rows of codes are padded with zeros to a multiple of this.
inline constexpr std::int64_t kInt8Pad = 64;

inline constexpr std::int64_t padded_int8_depth(std::int64_t k) {
  return (k + kInt8Pad - 1) / kInt8Pad * kInt8Pad;
}

/// What turns integer sums into y. With `columns` the outliers of x, in this order:
///   v = fl(fl(float(I[m, n]) · fl(stats[m] · scb[n])) · constant)
///   v = fl(v + bias[n])
///   v = fl(v + sum over c of x[m, columns[c]] · fl(fl(cb[n, columns[c]] · scb[n]) · (1/127)))
///   y[m, n] = v, or fl(y[m, n] + v)
struct Int8Output {
  const float* scb = nullptr;   // [N], any alignment
  const float* bias = nullptr;  // [N] or null
  float constant = kInt8Constant;
  float* y = nullptr;  // [rows, ldy]
  std::int64_t ldy = 0;
  bool accumulate = false;
};

Int8Output int8_output(const LinearTask& task);

/// What is done to a row of x; h = float16(x), as float32.
struct Int8RowPath {
  /// max |h[i]| over those that are not outliers, |h[i]| >= threshold; NaN if any h is. Sets the
  /// bits of the outliers: i is bit i % 8 of byte i / 8. A NaN for threshold: nothing is one.
  float (*scan)(const float* x, std::int64_t k, float threshold, std::uint8_t* outliers);
  /// q[i] = round(fl(h[i] · fl(fl(1 / stat) · 127))), ties to even; 0 where h is an outlier or the
  /// product is NaN, and from k up to padded_int8_depth(k). Returns their sum.
  std::int32_t (*quantize)(const float* x, std::int64_t k, float threshold, float stat,
                           std::int8_t* q);
  /// panel[i / 4, m, i % 4] = q[m, i] for 16 rows m of q, ldq apart, and i < depth, a multiple of
  /// kInt8Pad.
  void (*pack)(const std::int8_t* q, std::int64_t ldq, std::int64_t depth, std::int8_t* panel);
};

/// Few rows of x against stored rows.
struct Int8DotJob {
  const std::int8_t* cb = nullptr;  // [N, k], any alignment, SCB behind it (Int8Layout)
  std::int64_t k = 0;
  const float* x = nullptr;            // [rows, k]
  const std::int8_t* q = nullptr;      // [rows, padded_int8_depth(k)], zero in `columns`
  const std::int32_t* sums = nullptr;  // [rows], of q
  const float* stats = nullptr;        // [rows]
  std::int64_t rows = 0;               // at most kMostInt8DotRows
  std::span<const std::int32_t> columns;
  Int8Output out;
};

inline constexpr std::int64_t kMostInt8DotRows = 8;

/// Outputs begin <= n < end of a job; each is the same bits however the range was cut.
using Int8DotPath = void (*)(const Int8DotJob& job, std::int64_t begin, std::int64_t end);

/// Rows of x in a panel of the blocked product.
inline constexpr std::int64_t kInt8PanelRows = 16;
/// Columns of the depth that it works on at a time at most, and the distance of copied weight rows:
/// not a power of two, so that rows do not fall on the same cache sets.
inline constexpr std::int64_t kInt8Depth = 2048;
inline constexpr std::int64_t kInt8CopyStride = kInt8Depth + 64;
/// Outlier columns that are multiplied at a time.
inline constexpr std::int64_t kInt8ColumnBlock = 64;

/// A group of stored weight rows to copy.
struct Int8CopyJob {
  const std::int8_t* w = nullptr;
  std::int64_t row_bytes = 0;              // from row to row
  std::int64_t count = 0;                  // rows
  std::int64_t depth = 0;                  // columns
  const std::int8_t* ask_until = nullptr;  // lines ahead are asked for up to here
  std::int8_t* out = nullptr;              // 64-byte aligned
};

/// Stored weights that the next call will copy: their lines are asked for along the way.
struct NextInt8 {
  const std::int8_t* first = nullptr;
  std::int64_t row_bytes = 0;  // from row to row
  std::int64_t rows = 0;       // 0: nothing
  std::int64_t bytes = 0;      // of each row
};

/// A group of copied weight rows times some panels.
struct Int8BlockJob {
  const std::int8_t* w = nullptr;       // [count, depth], rows kInt8CopyStride apart
  std::int64_t count = 0;               // at most the path's group
  const std::int8_t* panels = nullptr;  // [depth / 4, 16, 4] each
  std::int64_t panel_bytes = 0;         // from one panel to the next
  std::int64_t panel_count = 0;
  std::int64_t depth = 0;              // a multiple of kInt8Pad
  const std::int32_t* sums = nullptr;  // [panel_count, 16], of all columns of the rows of x
  bool first = false;                  // c begins at zero
  std::int32_t* c = nullptr;           // [count, 16] for each panel, with room for a whole group
  std::int64_t c_panel = 0;            // from the c of one panel to the next
  NextInt8 next;
};

/// Turns the sums of one panel into y, a block of outlier columns at a time: the first finds
/// integers in c, all but the last leave float32 there.
struct Int8FinishJob {
  void* c = nullptr;                  // [outputs, 16] int32 or float32
  std::int64_t outputs = 0;           // room for a multiple of 16
  std::int64_t rows = 0;              // at most 16
  const float* stats = nullptr;       // [16]
  std::int64_t columns = 0;           // at most kInt8ColumnBlock
  const float* x_outliers = nullptr;  // [columns, 16]
  const float* w_outliers = nullptr;  // [outputs, kInt8ColumnBlock], room as for c
  bool first = true;
  bool last = true;
  Int8Output out;  // of the first output and row
};

struct Int8GemmPath {
  std::int64_t group;  // weight rows multiplied together
  std::int64_t depth;  // columns at a time, at most kInt8Depth
  // Panels up to which a product takes less time than reading its weights does: then weights are
  // copied kInt8Depth columns at a time, as one long read.
  std::int64_t reading_panels;
  /// job.out = stored rows as multiply wants them, kInt8CopyStride apart, filled up to a whole
  /// group and a multiple of kInt8Pad columns with what adds nothing.
  void (*copy)(const Int8CopyJob& job);
  /// c[n, m] += sum_k w[n, k] · x[m, k] for n < count and the rows m of every panel.
  void (*multiply)(const Int8BlockJob& job);
  void (*finish)(const Int8FinishJob& job);
};

namespace ref {
/// The truth, for all rows of a call.
void linear_int8(const LinearTask& task, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx);
}  // namespace ref

namespace avx2 {
extern const Int8RowPath kInt8Rows;
void dot_int8(const Int8DotJob& job, std::int64_t begin, std::int64_t end);
extern const Int8GemmPath kInt8Gemm;
}  // namespace avx2

namespace avx512 {
extern const Int8RowPath kInt8Rows;
void dot_int8(const Int8DotJob& job, std::int64_t begin, std::int64_t end);
extern const Int8GemmPath kInt8Gemm;
}  // namespace avx512

namespace amx {
extern const Int8GemmPath kInt8Gemm;
}  // namespace amx

}  // namespace shoehorn
