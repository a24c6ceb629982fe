// Vectors of eight floats for the _avx2.cc files alone: widening loads, partial loads, sums, exp.
// Everything is static: an inline function with linkage could be taken from an AVX2 object file by
// a caller that must run without AVX2.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>
#include <math.h>

namespace shoehorn::avx2 {

inline constexpr std::int64_t kLanes = 8;

// All ones in the first `count` lanes, 0 <= count <= 8, for masked loads and stores.
static inline __m256i first_lanes(std::int64_t count) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), index);
}

// Stored floats as float32 vectors; `at` counts elements, and pointers need no alignment.
struct LoadF32 {
  static constexpr std::int64_t kBytes = 4;
  static __m256 full(const std::byte* row, std::int64_t at) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(row) + at);
  }
};
struct LoadBf16 {
  static constexpr std::int64_t kBytes = 2;
  static __m256 full(const std::byte* row, std::int64_t at) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * at));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
};
struct LoadF16 {
  static constexpr std::int64_t kBytes = 2;
  static __m256 full(const std::byte* row, std::int64_t at) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * at)));
  }
};

// The first `count` < 8 elements from `at` on, zeros after them.
template <typename Load>
static inline __m256 load_part(const std::byte* row, std::int64_t at, std::int64_t count) {
  alignas(32) std::byte padded[kLanes * Load::kBytes] = {};
  for (std::int64_t i = 0; i < count * Load::kBytes; ++i) padded[i] = row[at * Load::kBytes + i];
  return Load::full(padded, 0);
}

// block[i][j] becomes block[j][i]: pairs of rows, then fours, then the 128-bit halves.
static inline void transpose(__m256 (&block)[8]) {
  __m256 t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(block[2 * i], block[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(block[2 * i], block[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    block[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    block[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
    block[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    block[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(block[i], block[4 + i], 0x20);
    t[4 + i] = _mm256_permute2f128_ps(block[i], block[4 + i], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) block[i] = t[i];
}

static inline float reduce_add(__m256 v) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}

static inline float reduce_max(__m256 v) {
  const __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

// 1/6!, 1/5!, ... 1/0!
inline constexpr float kInverseFactorials[] = {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6,
                                               0.5F,       1.0F,       1.0F};

// e^v within 2 units in the last place: e^v = 2^n · e^r with |r| <= ln 2 / 2, Taylor's polynomial
// of degree 7 for e^r. Below -87.3 it gives 0, above 88.3 infinity; NaN passes.
static inline __m256 exp(__m256 v) {
  const __m256 low = _mm256_set1_ps(-87.3F);
  const __m256 high = _mm256_set1_ps(88.3F);
  const __m256 is_zero = _mm256_cmp_ps(v, low, _CMP_LT_OQ);
  const __m256 is_infinite = _mm256_cmp_ps(v, high, _CMP_GT_OQ);
  // The operand order makes min and max return v where it is NaN.
  v = _mm256_max_ps(low, _mm256_min_ps(high, v));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(v, _mm256_set1_ps(1.44269504F)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts (Cephes): n · 0.693359375 is exact.
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375F), v);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4F), r);
  __m256 sum = _mm256_set1_ps(1.0F / 5040);
  for (const float inverse_factorial : kInverseFactorials) {
    sum = _mm256_fmadd_ps(sum, r, _mm256_set1_ps(inverse_factorial));
  }
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  const __m256 power = _mm256_mul_ps(sum, _mm256_castsi256_ps(exponent));
  return _mm256_andnot_ps(is_zero, _mm256_blendv_ps(power, _mm256_set1_ps(INFINITY), is_infinite));
}

}  // namespace shoehorn::avx2
