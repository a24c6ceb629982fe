// Dot products of a few rows with stored weights, eight values at a time. Bound by memory when the
// weights are not in a cache: several rows of W run side by side, which gives each load of x as
// many uses and the multiply-adds enough independent sums, and lines are asked for well ahead of
// their use. linear_dot_avx512.cc is its twin; sixteen registers leave room for fewer rows.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {
namespace {

// How far ahead of its use a row's line is asked for.
constexpr std::int64_t kAheadBytes = 2048;
// Values of a row in one turn of the loop.
constexpr std::int64_t kStep = 4 * kLanes;
// Rows of x at a time: with two rows of W eight sums, and one row of x with four also has eight.
constexpr int kMostRowsAtOnce = 4;

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

void prefetch_start(const std::byte* row, std::int64_t bytes) {
  for (std::int64_t at = 0; at < bytes; at += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(row + at), _MM_HINT_T1);
  }
}

// Sums of R rows of W times M rows of x. One row of x alone has two sums an output, so that eight
// multiply-adds are under way.
template <typename Load, int R, int M>
void dot_group(const std::byte* w, std::int64_t stream_bytes, std::int64_t k, const float* x,
               const Ahead& ahead, float (&sums)[R][M]) {
  constexpr int kChains = M == 1 ? 2 : 1;
  __m256 acc[R][M][kChains];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
      for (int c = 0; c < kChains; ++c) acc[r][m][c] = _mm256_setzero_ps();
    }
  }
  std::int64_t i = 0;
  for (; i + kStep <= k; i += kStep) {
    const std::int64_t at = i * Load::kBytes;
    const std::int64_t distance = at < ahead.last_byte ? ahead.bytes : 0;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (std::int64_t line = 0; line < kStep * Load::kBytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(w + r * stream_bytes + at + line + distance),
                     _MM_HINT_T1);
      }
    }
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      __m256 values[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) values[r] = Load::full(w + r * stream_bytes, i + u * kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const __m256 inputs = _mm256_loadu_ps(x + m * k + i + u * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          acc[r][m][u % kChains] = _mm256_fmadd_ps(values[r], inputs, acc[r][m][u % kChains]);
        }
      }
    }
  }
  for (; i < k; i += kLanes) {
    const std::int64_t count = k - i;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256 values = count >= kLanes ? Load::full(w + r * stream_bytes, i)
                                            : load_part<Load>(w + r * stream_bytes, i, count);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const __m256 inputs =
            _mm256_maskload_ps(x + m * k + i, first_lanes(count < kLanes ? count : kLanes));
        acc[r][m][0] = _mm256_fmadd_ps(values, inputs, acc[r][m][0]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      __m256 sum = acc[r][m][0];
      if (kChains == 2) sum = _mm256_add_ps(sum, acc[r][m][kChains - 1]);
      sums[r][m] = reduce_add(sum);
    }
  }
}

template <typename Load, int R, int M>
void outputs_of_rows(const DotJob& job, std::int64_t n, std::int64_t first_row,
                     const Streams& streams, const Ahead& ahead) {
  float sums[R][M];
  const auto row_bytes = static_cast<std::int64_t>(job.row_bytes);
  dot_group<Load, R, M>(job.weight + n * row_bytes, streams.bytes, job.k, job.x + first_row * job.k,
                        ahead, sums);
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
template <typename Load, int R>
void outputs(const DotJob& job, std::int64_t n, const Streams& streams, const Ahead& ahead) {
  const Ahead none;
  std::int64_t m = 0;
  for (; m + kMostRowsAtOnce <= job.rows; m += kMostRowsAtOnce) {
    outputs_of_rows<Load, R, 4>(job, n, m, streams, m == 0 ? ahead : none);
  }
  const Ahead& rest = m == 0 ? ahead : none;
  switch (job.rows - m) {
    case 1: outputs_of_rows<Load, R, 1>(job, n, m, streams, rest); break;
    case 2: outputs_of_rows<Load, R, 2>(job, n, m, streams, rest); break;
    case 3: outputs_of_rows<Load, R, 3>(job, n, m, streams, rest); break;
    default: break;
  }
}

template <typename Load, int R>
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
    outputs<Load, R>(job, begin + i, streams, {.bytes = distance, .last_byte = last_byte});
  }
  for (std::int64_t n = begin + R * length; n < end; ++n) {
    outputs<Load, 1>(job, n, Streams{}, Ahead{});
  }
}

template <typename Load>
void dot(const DotJob& job, std::int64_t begin, std::int64_t end) {
  if (job.rows <= 2) {
    dot_streams<Load, 4>(job, begin, end);
  } else {
    dot_streams<Load, 2>(job, begin, end);
  }
}

}  // namespace

void dot_f32(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot<LoadF32>(job, begin, end);
}
void dot_bf16(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot<LoadBf16>(job, begin, end);
}
void dot_f16(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot<LoadF16>(job, begin, end);
}

}  // namespace shoehorn::avx2
