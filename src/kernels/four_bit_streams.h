// How a dot product kernel for four-bit weights walks over a range of rows: several rows side by
// side, far apart, each the head of a stream of rows in a row, so that the memory sees a few long
// sequential reads (neighbouring rows side by side read 8 % less), with lines asked for well ahead
// of their use and absmax un-nested row by row.
//
// Templates over a Kernel of an unnamed namespace, so that nothing of them is shared between the
// files of different instruction sets. A Kernel has
//
//   const FourBitDotJob& job;
//   template <int R, int M>   // results[r][m] = row r of `rows` times row first_row + m of x
//   void dot(const Rows<R>& rows, std::int64_t first_row, const Ahead& ahead,
//            float (&results)[R][M]) const;
//   static void unnest(const FourBitParts& parts, std::int64_t first, std::int64_t count,
//                      float* out);
#pragma once

#include <cstdint>

#include "kernels/linear_four_bit_paths.h"

namespace shoehorn::four_bit {

/// R rows of W.
template <int R>
struct Rows {
  const std::uint8_t* packed[R];
  const float* absmax[R];
};

/// Where the lines to prefetch are, in bytes from the one in use.
struct Ahead {
  std::int64_t bytes = 0;
  std::int64_t last_byte = 0;  // of the row, from which on nothing is: zero bytes ahead is free
};

/// How far ahead of its use a row's line is asked for.
inline constexpr std::int64_t kAheadBytes = 2048;

// Outputs n, n + stride, ... of R rows of W with M rows of x.
template <int R, int M, typename Kernel>
static inline void outputs_of_rows(const Kernel& kernel, const Rows<R>& rows, std::int64_t n,
                                   std::int64_t stride, std::int64_t first_row,
                                   const Ahead& ahead) {
  const FourBitDotJob& job = kernel.job;
  float results[R][M];
  kernel.template dot<R, M>(rows, first_row, ahead, results);
  for (int m = 0; m < M; ++m) {
    for (int r = 0; r < R; ++r) {
      const std::int64_t output = n + r * stride;
      float* const y = job.y + (first_row + m) * job.ldy + output;
      const float value = job.bias != nullptr ? results[r][m] + job.bias[output] : results[r][m];
      *y = job.accumulate ? *y + value : value;
    }
  }
}

// All rows of x with R rows of W; after the first few, W comes from the nearest cache.
template <int R, typename Kernel>
static inline void outputs(const Kernel& kernel, const Rows<R>& rows, std::int64_t n,
                           std::int64_t stride, const Ahead& ahead) {
  const Ahead none;
  const std::int64_t count = kernel.job.rows;
  std::int64_t m = 0;
  for (; m + 4 <= count; m += 4) {
    outputs_of_rows<R, 4>(kernel, rows, n, stride, m, m == 0 ? ahead : none);
  }
  const Ahead& rest = m == 0 ? ahead : none;
  switch (count - m) {
    case 1: outputs_of_rows<R, 1>(kernel, rows, n, stride, m, rest); break;
    case 2: outputs_of_rows<R, 2>(kernel, rows, n, stride, m, rest); break;
    case 3: outputs_of_rows<R, 3>(kernel, rows, n, stride, m, rest); break;
    default: break;
  }
}

// Rows n, n + stride, ... of W; nested absmax goes to scratch.
template <int R, typename Kernel>
static inline Rows<R> rows_at(const Kernel& kernel, std::int64_t n, std::int64_t stride,
                              float* scratch) {
  const FourBitDotJob& job = kernel.job;
  const std::int64_t blocks = job.k / job.parts.blocksize;
  Rows<R> rows;
  for (int r = 0; r < R; ++r) {
    const std::int64_t row = n + r * stride;
    rows.packed[r] = job.parts.packed + row * (job.k / 2);
    if (job.parts.absmax != nullptr) {
      rows.absmax[r] = job.parts.absmax + row * blocks;
    } else {
      Kernel::unnest(job.parts, row * blocks, blocks, scratch + r * blocks);
      rows.absmax[r] = scratch + r * blocks;
    }
  }
  return rows;
}

// Asks for the absmax of row n, which its kernel will otherwise wait for.
static inline void prefetch_absmax(const FourBitDotJob& job, std::int64_t n) {
  const std::int64_t blocks = job.k / job.parts.blocksize;
  const bool nested = job.parts.absmax == nullptr;
  const auto* const start =
      nested ? job.parts.absmax_codes + n * blocks
             : reinterpret_cast<const std::uint8_t*>(job.parts.absmax + n * blocks);
  const std::int64_t bytes = nested ? blocks : blocks * static_cast<std::int64_t>(sizeof(float));
  for (std::int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(start + at, 0, 3);
}

// Outputs begin <= n < end, R rows of W side by side. `scratch`: the absmax of R rows.
template <int R, typename Kernel>
static inline void dot_streams(const Kernel& kernel, std::int64_t begin, std::int64_t end,
                               float* scratch) {
  const FourBitDotJob& job = kernel.job;
  const std::int64_t row_bytes = job.k / 2;
  const std::int64_t length = (end - begin) / R;
  const std::int64_t stream_bytes = length * row_bytes;
  const std::int64_t distance = kAheadBytes < stream_bytes ? kAheadBytes : stream_bytes;
  for (std::int64_t r = 0; r < R && length > 0; ++r) {
    const std::uint8_t* const start = job.parts.packed + begin * row_bytes + r * stream_bytes;
    for (std::int64_t at = 0; at < distance; at += 64) __builtin_prefetch(start + at, 0, 2);
  }
  const std::int64_t rows_ahead = distance / row_bytes + 1;
  for (std::int64_t i = 0; i < length; ++i) {
    for (std::int64_t r = 0; r < R && i + rows_ahead < length; ++r) {
      prefetch_absmax(job, begin + r * length + i + rows_ahead);
    }
    // What is prefetched must lie in the stream: what follows is another's, or another thread's.
    const std::int64_t last_byte = (length - i) * row_bytes - distance;
    outputs<R>(kernel, rows_at<R>(kernel, begin + i, length, scratch), begin + i, length,
               {.bytes = distance, .last_byte = last_byte});
  }
  for (std::int64_t n = begin + R * length; n < end; ++n) {
    outputs<1>(kernel, rows_at<1>(kernel, n, 0, scratch), n, 0, Ahead{});
  }
}

}  // namespace shoehorn::four_bit
