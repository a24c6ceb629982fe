// Vectors of sixteen floats for the _avx512.cc files alone: widening loads, partial loads, exp.
// Everything is static: an inline function with linkage could be taken from an AVX-512 object file
// by a caller that must run without AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

namespace shoehorn::avx512 {

inline constexpr std::int64_t kLanes = 16;

// The first `count` lanes, 0 <= count <= 16.
static inline __mmask16 first_lanes(std::int64_t count) {
  return static_cast<__mmask16>((1U << count) - 1);
}

// Stored floats as float32 vectors; `at` counts elements, and pointers need no alignment.
struct LoadF32 {
  static constexpr std::int64_t kBytes = 4;
  static __m512 full(const std::byte* row, std::int64_t at) {
    return _mm512_loadu_ps(reinterpret_cast<const float*>(row) + at);
  }
  static __m512 part(const std::byte* row, std::int64_t at, __mmask16 lanes) {
    return _mm512_maskz_loadu_ps(lanes, reinterpret_cast<const float*>(row) + at);
  }
};
struct LoadBf16 {
  static constexpr std::int64_t kBytes = 2;
  static __m512 widen(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static __m512 full(const std::byte* row, std::int64_t at) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * at)));
  }
  static __m512 part(const std::byte* row, std::int64_t at, __mmask16 lanes) {
    return widen(_mm256_maskz_loadu_epi16(lanes, row + 2 * at));
  }
};
struct LoadF16 {
  static constexpr std::int64_t kBytes = 2;
  static __m512 full(const std::byte* row, std::int64_t at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * at)));
  }
  static __m512 part(const std::byte* row, std::int64_t at, __mmask16 lanes) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, row + 2 * at));
  }
};

// block[i][j] becomes block[j][i]: pairs of rows, then fours, then the 128-bit lanes.
static inline void transpose(__m512 (&block)[16]) {
  __m512 t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(block[2 * i], block[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(block[2 * i], block[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    const __m512d a = _mm512_castps_pd(t[i]);
    const __m512d b = _mm512_castps_pd(t[i + 1]);
    const __m512d c = _mm512_castps_pd(t[i + 2]);
    const __m512d d = _mm512_castps_pd(t[i + 3]);
    block[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    block[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    block[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    block[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(block[i], block[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_f32x4(block[i], block[4 + i], 0xDD);
    t[8 + i] = _mm512_shuffle_f32x4(block[8 + i], block[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_f32x4(block[8 + i], block[12 + i], 0xDD);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    block[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
    block[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xDD);
    block[4 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
    block[12 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xDD);
  }
}

// 1/6!, 1/5!, ... 1/0!
inline constexpr float kInverseFactorials[] = {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6,
                                               0.5F,       1.0F,       1.0F};

// e^v within 2 units in the last place: e^v = 2^n · e^r with |r| <= ln 2 / 2, Taylor's polynomial
// of degree 7 for e^r. Very negative values give 0, large ones infinity, NaN passes.
static inline __m512 exp(__m512 v) {
  const __m512 bounded =
      _mm512_max_ps(_mm512_set1_ps(-150.0F), _mm512_min_ps(_mm512_set1_ps(129.0F), v));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(bounded, _mm512_set1_ps(1.44269504F)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts (Cephes): n · 0.693359375 is exact.
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), bounded);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
  __m512 sum = _mm512_set1_ps(1.0F / 5040);
  for (const float inverse_factorial : kInverseFactorials) {
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(inverse_factorial));
  }
  return _mm512_scalef_ps(sum, n);
}

}  // namespace shoehorn::avx512
