// Dot products of a few rows of codes with stored rows, 32 at a time. VPMADDUBSW multiplies
// unsigned by signed bytes and adds pairs in 16 bits: with |w| and codes that took over w's sign a
// pair is at most 2 · 128 · 127 = 32512, so nothing saturates. Streams and prefetches as in
// linear_dot_avx2.cc.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "kernels/linear_int8_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {
namespace {

// How far ahead of its use a row's line is asked for.
constexpr std::int64_t kAheadBytes = 2048;
constexpr std::int64_t kBytes = 32;
constexpr int kMostRowsAtOnce = 4;

// Where the lines to prefetch are, in bytes from the one in use.
struct Ahead {
  std::int64_t bytes = 0;
  std::int64_t last_byte = 0;  // of the row, from which on nothing is: zero bytes ahead is free
};

void prefetch(const std::int8_t* at) {
  _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1);
}

std::int32_t reduce_add(__m256i v) {
  const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i pair = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 0xB1)));
}

// Sums of R rows of W, stream_bytes apart, times M rows of codes.
template <int R, int M>
void dot_group(const std::int8_t* w, std::int64_t stream_bytes, const Int8DotJob& job,
               const std::int8_t* q, const Ahead& ahead, std::int32_t (&sums)[R][M]) {
  const __m256i ones = _mm256_set1_epi16(1);
  const std::int64_t ldq = padded_int8_depth(job.k);
  __m256i acc[R][M];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) acc[r][m] = _mm256_setzero_si256();
  }
  const auto step = [&](std::int64_t i, int r, __m256i weights) __attribute__((always_inline)) {
    const __m256i magnitudes = _mm256_abs_epi8(weights);
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + m * ldq + i));
      const __m256i pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(codes, weights));
      acc[r][m] = _mm256_add_epi32(acc[r][m], _mm256_madd_epi16(pairs, ones));
    }
  };
  std::int64_t i = 0;
  for (; i + kBytes <= job.k; i += kBytes) {
    const std::int64_t distance = i < ahead.last_byte ? ahead.bytes : 0;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const std::int8_t* const at = w + r * stream_bytes + i;
      if (i % 64 == 0) prefetch(at + distance);
      step(i, r, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
    }
  }
  if (i < job.k) {
    for (int r = 0; r < R; ++r) {
      alignas(32) std::int8_t rest[kBytes] = {};
      std::memcpy(rest, w + r * stream_bytes + i, static_cast<std::size_t>(job.k - i));
      step(i, r, _mm256_load_si256(reinterpret_cast<const __m256i*>(rest)));
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) sums[r][m] = reduce_add(acc[r][m]);
  }
}

void finish(const Int8DotJob& job, std::int32_t sum, std::int64_t n, std::int64_t m) {
  const Int8Output& out = job.out;
  float scb;  // at any alignment
  std::memcpy(&scb, reinterpret_cast<const std::byte*>(out.scb) + 4 * n, sizeof(scb));
  float value = static_cast<float>(sum) * (job.stats[m] * scb) * out.constant;
  if (out.bias != nullptr) value += out.bias[n];
  if (!job.columns.empty()) {
    float outliers = 0;
    for (const std::int32_t column : job.columns) {
      const auto code = static_cast<float>(job.cb[n * job.k + column]);
      outliers += job.x[m * job.k + column] * (code * scb * kInt8Inverse127);
    }
    value += outliers;
  }
  float& y = out.y[m * out.ldy + n];
  y = out.accumulate ? y + value : value;
}

template <int R, int M>
void outputs_of_rows(const Int8DotJob& job, std::int64_t n, std::int64_t m0, std::int64_t length,
                     const Ahead& ahead) {
  std::int32_t sums[R][M];
  dot_group<R, M>(job.cb + n * job.k, length * job.k, job, job.q + m0 * padded_int8_depth(job.k),
                  ahead, sums);
  for (int r = 0; r < R; ++r) {
    for (int m = 0; m < M; ++m) finish(job, sums[r][m], n + r * length, m0 + m);
  }
}

// `length` rows of each of R streams from row n on, for all rows of x; after the first few, W comes
// from the nearest cache.
template <int R>
void dot_streams(const Int8DotJob& job, std::int64_t n, std::int64_t length) {
  const std::int64_t bytes = length * job.k;
  const std::int64_t distance = kAheadBytes < bytes ? kAheadBytes : bytes;
  for (int r = 0; r < R; ++r) {
    for (std::int64_t at = 0; at < distance; at += 64)
      prefetch(job.cb + n * job.k + r * bytes + at);
  }
  for (std::int64_t i = 0; i < length; ++i) {
    // What is prefetched must lie in the stream: what follows is another's, or another thread's.
    Ahead ahead{.bytes = distance, .last_byte = (length - i) * job.k - distance};
    for (std::int64_t m = 0; m < job.rows; m += kMostRowsAtOnce, ahead = Ahead{}) {
      switch (job.rows - m) {
        case 1: outputs_of_rows<R, 1>(job, n + i, m, length, ahead); break;
        case 2: outputs_of_rows<R, 2>(job, n + i, m, length, ahead); break;
        case 3: outputs_of_rows<R, 3>(job, n + i, m, length, ahead); break;
        default: outputs_of_rows<R, 4>(job, n + i, m, length, ahead); break;
      }
    }
  }
}

template <int R>
void dot(const Int8DotJob& job, std::int64_t begin, std::int64_t end) {
  const std::int64_t length = (end - begin) / R;
  if (length > 0) dot_streams<R>(job, begin, length);
  const std::int64_t rest = begin + length * R;
  if (rest < end) dot_streams<1>(job, rest, end - rest);
}

}  // namespace

void dot_int8(const Int8DotJob& job, std::int64_t begin, std::int64_t end) {
  // Four rows of W times two of x, or two times four: eight sums and their operands fill the
  // registers.
  if (job.rows <= 2) {
    dot<4>(job, begin, end);
  } else {
    dot<2>(job, begin, end);
  }
}

}  // namespace shoehorn::avx2
