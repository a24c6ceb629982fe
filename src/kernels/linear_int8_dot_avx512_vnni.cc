// Dot products of a few rows of codes with stored rows, 64 at a time. VPDPBUSD multiplies unsigned
// by signed bytes: weights become unsigned by flipping their sign bit, which adds 128, and 128
// times the sum of the row's codes is taken off again. Bound by memory, so rows of W run side by
// side as far apart streams with lines asked for ahead, as in linear_dot_avx512.cc.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_int8_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {
namespace {

// How far ahead of its use a row's line is asked for.
constexpr std::int64_t kAheadBytes = 2048;
// Rows of W side by side, and the outputs of each that are finished together.
constexpr int kStreams = 4;
constexpr std::int64_t kOutputs = kLanes;
// Rows of x at a time.
constexpr int kMostRowsAtOnce = 4;

// Where the lines to prefetch are, in bytes from the one in use.
struct Ahead {
  std::int64_t bytes = 0;
  std::int64_t last_byte = 0;  // of the row, from which on nothing is: zero bytes ahead is free
};

// Integer sums of 16 outputs a stream, streams side by side.
using Sums = std::int32_t[kMostInt8DotRows][kOutputs * kStreams];

void prefetch_start(const std::int8_t* row, std::int64_t bytes) {
  for (std::int64_t at = 0; at < bytes; at += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(row + at), _MM_HINT_T1);
  }
}

// The sums of a, b, c and d.
__m128i reduce_four(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i all =
      _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half =
      _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// Sums of R rows of W, stream_bytes apart, times M rows of codes. Weights are 128 too large.
template <int R, int M>
void dot_group(const std::int8_t* w, std::int64_t stream_bytes, const Int8DotJob& job,
               const std::int8_t* q, const Ahead& ahead, std::int32_t* sums) {
  const __m512i flip = _mm512_set1_epi8(-128);
  const std::int64_t ldq = padded_int8_depth(job.k);
  __m512i acc[kStreams][M];
#pragma GCC unroll 4
  for (int r = 0; r < kStreams; ++r) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) acc[r][m] = _mm512_setzero_si512();
  }
  const auto step = [&](std::int64_t i, const auto& load) __attribute__((always_inline)) {
    __m512i values[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) values[r] = _mm512_xor_si512(load(w + r * stream_bytes + i), flip);
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      const __m512i codes = _mm512_loadu_si512(q + m * ldq + i);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) acc[r][m] = _mm512_dpbusd_epi32(acc[r][m], values[r], codes);
    }
  };
  std::int64_t i = 0;
  for (; i + 64 <= job.k; i += 64) {
    const std::int64_t distance = i < ahead.last_byte ? ahead.bytes : 0;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      _mm_prefetch(reinterpret_cast<const char*>(w + r * stream_bytes + i + distance), _MM_HINT_T1);
    }
    step(i, [](const std::int8_t* at) { return _mm512_loadu_si512(at); });
  }
  if (i < job.k) {
    const __mmask64 rest = (std::uint64_t{1} << (job.k - i)) - 1;
    step(i, [&](const std::int8_t* at) { return _mm512_maskz_loadu_epi8(rest, at); });
  }
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(sums + m * kOutputs * kStreams),
                     reduce_four(acc[0][m], acc[1][m], acc[2][m], acc[3][m]));
  }
}

// The dequantized weights of one column, of rows n .. n + 15. Whole words are read from the
// column's byte on: up to three bytes more than CB has, which are SCB's.
__m512 column_weights(const Int8DotJob& job, std::int64_t n, std::int64_t column, __m512 scb,
                      __mmask16 lanes) {
  const __m512i rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i at = _mm512_mullo_epi32(rows, _mm512_set1_epi32(static_cast<int>(job.k)));
  const __m512i words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), lanes, at,
                                                    job.cb + n * job.k + column, 1);
  const __m512i codes = _mm512_srai_epi32(_mm512_slli_epi32(words, 24), 24);
  return _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(codes), scb),
                       _mm512_set1_ps(kInt8Inverse127));
}

// y of outputs n .. n + count - 1 <= n + 15 and M rows of x from m0 on, from the sums of a stream.
template <int M>
void finish(const Int8DotJob& job, const Sums& sums, int stream, std::int64_t n, std::int64_t count,
            std::int64_t m0) {
  const __mmask16 lanes = first_lanes(count);
  const Int8Output& out = job.out;
  const __m512 scb = _mm512_maskz_loadu_ps(lanes, out.scb + n);
  __m512 outliers[M];
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) outliers[m] = _mm512_setzero_ps();
  for (const std::int32_t column : job.columns) {
    const __m512 weights = column_weights(job, n, column, scb, lanes);
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      const __m512 value = _mm512_set1_ps(job.x[(m0 + m) * job.k + column]);
      outliers[m] = _mm512_fmadd_ps(value, weights, outliers[m]);
    }
  }
  const __m512i every =
      _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60);
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
    const __m512i flipped = _mm512_i32gather_epi32(every, sums[m0 + m] + stream, 4);
    const __m512i sum = _mm512_sub_epi32(flipped, _mm512_set1_epi32(job.sums[m0 + m] * 128));
    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(job.stats[m0 + m]), scb);
    __m512 value =
        _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), _mm512_set1_ps(out.constant));
    if (out.bias != nullptr) {
      value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, out.bias + n));
    }
    if (!job.columns.empty()) value = _mm512_add_ps(value, outliers[m]);
    float* const y = out.y + (m0 + m) * out.ldy + n;
    if (out.accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), value);
    _mm512_mask_storeu_ps(y, lanes, value);
  }
}

// `length` rows of each of R streams from row n on.
template <int R>
class Streams {
 public:
  Streams(const Int8DotJob& job, std::int64_t n, std::int64_t length)
      : job_(job), n_(n), length_(length), bytes_(length * job.k) {
    distance_ = kAheadBytes < bytes_ ? kAheadBytes : bytes_;
  }

  void run() const {
    for (int r = 0; r < R; ++r) prefetch_start(job_.cb + n_ * job_.k + r * bytes_, distance_);
    alignas(64) Sums sums;
    for (std::int64_t first = 0; first < length_; first += kOutputs) {
      const std::int64_t left = length_ - first;
      const std::int64_t count = left < kOutputs ? left : kOutputs;
      for (std::int64_t i = 0; i < count; ++i) multiply(first + i, sums[0] + i * kStreams);
      for (std::int64_t m = 0; m < job_.rows; m += kMostRowsAtOnce) {
        for (int r = 0; r < R; ++r) finish_rows(sums, r, n_ + first + r * length_, count, m);
      }
    }
  }

 private:
  // All rows of x with the i-th row of each stream; after the first few, W comes from the nearest
  // cache.
  void multiply(std::int64_t i, std::int32_t* sums) const {
    const std::int8_t* const w = job_.cb + (n_ + i) * job_.k;
    const std::int64_t ldq = padded_int8_depth(job_.k);
    // What is prefetched must lie in the stream: what follows is another's, or another thread's.
    Ahead ahead{.bytes = distance_, .last_byte = (length_ - i) * job_.k - distance_};
    for (std::int64_t m = 0; m < job_.rows; m += kMostRowsAtOnce) {
      const std::int8_t* const q = job_.q + m * ldq;
      std::int32_t* const to = sums + m * kOutputs * kStreams;
      switch (job_.rows - m) {
        case 1: dot_group<R, 1>(w, bytes_, job_, q, ahead, to); break;
        case 2: dot_group<R, 2>(w, bytes_, job_, q, ahead, to); break;
        case 3: dot_group<R, 3>(w, bytes_, job_, q, ahead, to); break;
        default: dot_group<R, 4>(w, bytes_, job_, q, ahead, to); break;
      }
      ahead = Ahead{};
    }
  }

  void finish_rows(const Sums& sums, int stream, std::int64_t n, std::int64_t count,
                   std::int64_t m) const {
    switch (job_.rows - m) {
      case 1: finish<1>(job_, sums, stream, n, count, m); break;
      case 2: finish<2>(job_, sums, stream, n, count, m); break;
      case 3: finish<3>(job_, sums, stream, n, count, m); break;
      default: finish<4>(job_, sums, stream, n, count, m); break;
    }
  }

  const Int8DotJob& job_;
  std::int64_t n_;
  std::int64_t length_;
  std::int64_t bytes_;  // of a stream
  std::int64_t distance_;
};

}  // namespace

void dot_int8(const Int8DotJob& job, std::int64_t begin, std::int64_t end) {
  const std::int64_t length = (end - begin) / kStreams;
  if (length > 0) Streams<kStreams>(job, begin, length).run();
  const std::int64_t rest = begin + length * kStreams;
  if (rest < end) Streams<1>(job, rest, end - rest).run();
}

}  // namespace shoehorn::avx512
