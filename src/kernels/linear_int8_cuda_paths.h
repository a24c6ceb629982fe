// What linear_int8() on a CUDA device is made of. Internal: linear_int8_cuda.cc picks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cuda/queue.h"
#include "kernels/linear.h"
#include "kernels/linear_cuda_paths.h"
#include "kernels/linear_int8_paths.h"

namespace shoehorn::cuda {

/// Codes of a row begin at multiples of this, and are filled up to it with zeros.
inline constexpr std::int64_t kInt8RowAlignment = 16;

/// Outlier columns whose values are gathered once: as many as models have, and some. Those beyond
/// are looked up where they are needed.
inline constexpr int kCompactColumns = 512;

/// Rows of x in 8 bits, all on the card.
struct Int8Rows {
  std::int8_t* q = nullptr;  // [rows, ldq], zero in outlier columns and from k on
  std::int64_t ldq = 0;
  float* stats = nullptr;             // [rows]
  std::uint8_t* is_column = nullptr;  // [k], 1 where a row has an outlier
  std::int32_t* columns = nullptr;    // [k], those columns, ascending
  std::int32_t* column_count = nullptr;
  /// Many rows: [kCompactColumns, rows], x in the first of the outlier columns; else null.
  float* compact = nullptr;

  Int8Rows some(std::int64_t first) const {
    Int8Rows rows = *this;
    rows.q += first * ldq;
    rows.stats += first;
    return rows;
  }
};

/// Fills all of `rows` from x; `threshold` is a NaN where nothing is an outlier.
void quantize_rows(const Activations& x, float threshold, const Int8Rows& rows, const Queue& queue);

/// A few rows with at most kMostLinearTasks weights in one launch.
void int8_dot(std::span<const LinearTask> tasks, const Activations& x, const Int8Rows& rows,
              const Queue& queue);

/// out[i, :] = CB row first + i, zeros from k up to ldo and in rows from n on; ldo and out are
/// multiples of 16.
void copy_codes(const Int8Parts& parts, std::int64_t first, std::int64_t count, std::int8_t* out,
                std::int64_t ldo, const Queue& queue);

/// y[:, first + i] = the integer sums [rows, ld] of outputs first + i < first + count, scaled, with
/// outliers and bias (Int8Output).
struct Int8Finish {
  const std::int32_t* sums = nullptr;
  std::int64_t ld = 0;
  std::int64_t first = 0;
  std::int64_t count = 0;
  float* compact = nullptr;  // scratch [kCompactColumns, count]
};
void int8_finish(const Int8Finish& finish, const LinearTask& task, const Activations& x,
                 const Int8Rows& rows, const Queue& queue);

}  // namespace shoehorn::cuda
