// How dot products walk over the rows of a weight, whatever the width of vectors. Internal to the
// linear_dot_<instruction set>.cc files: each brings a Group, a type of its unnamed namespace, so
// that what is made of these templates is its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_paths.h"

namespace shoehorn {

// How far ahead of its use a row's line is asked for.
inline constexpr std::int64_t kAheadBytes = 2048;
// Rows of x at a time.
inline constexpr int kMostRowsAtOnce = 4;

// Rows of W that run side by side are far apart: each is the head of a stream of rows in a row, so
// that the memory sees a few long sequential reads. (Neighbouring rows side by side read 8 %
// less.)
struct Streams {
  std::int64_t rows = 0;   // between two streams
  std::int64_t bytes = 0;  // the same, in bytes
};

// Where the lines to prefetch are, in bytes from the one in use.
struct Ahead {
  std::int64_t bytes = 0;
  std::int64_t last_byte = 0;  // of the row, from which on nothing is: zero bytes ahead is free
};

static inline void prefetch_start(const std::byte* row, std::int64_t bytes) {
  for (std::int64_t at = 0; at < bytes; at += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(row + at), _MM_HINT_T1);
  }
}

// Group::dot<Load, R, M>(w, stream_bytes, k, x, ahead, sums): sums of R rows of W, stream_bytes
// apart, times M rows of x, all of k values.
template <typename Group, typename Load, int R, int M>
void outputs_of_rows(const DotJob& job, std::int64_t n, std::int64_t first_row,
                     const Streams& streams, const Ahead& ahead) {
  float sums[R][M];
  const auto row_bytes = static_cast<std::int64_t>(job.row_bytes);
  Group::template dot<Load, R, M>(job.weight + n * row_bytes, streams.bytes, job.k,
                                  job.x + first_row * job.k, ahead, sums);
  for (int m = 0; m < M; ++m) {
    float* y = job.y + (first_row + m) * job.ldy + n;
    const float* bias = job.bias != nullptr ? job.bias + n : nullptr;
    for (int r = 0; r < R; ++r, y += streams.rows) {
      const float value = bias != nullptr ? sums[r][m] + bias[r * streams.rows] : sums[r][m];
      *y = job.accumulate ? *y + value : value;
    }
  }
}

// All rows of x with R rows of W; after the first few, W comes from the nearest cache.
template <typename Group, typename Load, int R>
void outputs(const DotJob& job, std::int64_t n, const Streams& streams, const Ahead& ahead) {
  const Ahead none;
  std::int64_t m = 0;
  for (; m + kMostRowsAtOnce <= job.rows; m += kMostRowsAtOnce) {
    outputs_of_rows<Group, Load, R, 4>(job, n, m, streams, m == 0 ? ahead : none);
  }
  const Ahead& rest = m == 0 ? ahead : none;
  switch (job.rows - m) {
    case 1: outputs_of_rows<Group, Load, R, 1>(job, n, m, streams, rest); break;
    case 2: outputs_of_rows<Group, Load, R, 2>(job, n, m, streams, rest); break;
    case 3: outputs_of_rows<Group, Load, R, 3>(job, n, m, streams, rest); break;
    default: break;
  }
}

template <typename Group, typename Load, int R>
void dot_streams(const DotJob& job, std::int64_t begin, std::int64_t end) {
  const auto row_bytes = static_cast<std::int64_t>(job.row_bytes);
  const std::int64_t length = (end - begin) / R;
  const Streams streams{.rows = length, .bytes = length * row_bytes};
  const std::int64_t distance = kAheadBytes < streams.bytes ? kAheadBytes : streams.bytes;
  for (std::int64_t r = 0; r < R && length > 0; ++r) {
    prefetch_start(job.weight + begin * row_bytes + r * streams.bytes, distance);
  }
  for (std::int64_t i = 0; i < length; ++i) {
    // What is prefetched must lie in the stream: what follows is another's, or another thread's.
    const std::int64_t last_byte = (length - i) * row_bytes - distance;
    outputs<Group, Load, R>(job, begin + i, streams, {.bytes = distance, .last_byte = last_byte});
  }
  for (std::int64_t n = begin + R * length; n < end; ++n) {
    outputs<Group, Load, 1>(job, n, Streams{}, Ahead{});
  }
}

}  // namespace shoehorn
