// What the AVX2 kernels for four-bit weights share: absmax out of its 8-bit codes, and looking up
// float32 codes as four bytes, each in a table of sixteen, that are put together by interleaving:
// 24 shuffles for 64 values, where permutations of eight floats, two tables and a blend, take twice
// as many. Functions are static, as vector_avx2.h says why; FourBitTables is for callers that
// inline.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "kernels/vector_avx2.h"
#include "quant/weight_form.h"

namespace shoehorn::avx2 {

// What FourBitParts::absmax_of() says.
static inline float absmax_at(const FourBitParts& parts, std::int64_t block) {
  if (parts.absmax != nullptr) return parts.absmax[block];
  const float scale = parts.nested_absmax[block / kNestedBlocksize];
  const float scaled = parts.nested_quant_map[parts.absmax_codes[block]] * scale;
  return scaled + parts.nested_offset;
}

// out[i] = absmax[first + i] of nested parts, count of them:
// fl(fl(nested_quant_map[code] · nested_absmax[block / 256]) + nested_offset).
static inline void unnest_absmax(const FourBitParts& parts, std::int64_t first, std::int64_t count,
                                 float* out) {
  const __m256 offset = _mm256_set1_ps(parts.nested_offset);
  const std::int64_t end = first + count;
  for (std::int64_t at = first; at < end;) {
    const std::int64_t nested = at / kNestedBlocksize;
    const float scale = parts.nested_absmax[nested];
    const std::int64_t boundary = (nested + 1) * kNestedBlocksize;
    const std::int64_t stop = boundary < end ? boundary : end;
    for (; at + kLanes <= stop; at += kLanes) {
      const __m128i codes =
          _mm_loadl_epi64(reinterpret_cast<const __m128i*>(parts.absmax_codes + at));
      const __m256 values =
          _mm256_i32gather_ps(parts.nested_quant_map, _mm256_cvtepu8_epi32(codes), 4);
      _mm256_storeu_ps(out + (at - first),
                       _mm256_add_ps(_mm256_mul_ps(values, _mm256_set1_ps(scale)), offset));
    }
    for (; at < stop; ++at) {
      const float scaled = parts.nested_quant_map[parts.absmax_codes[at]] * scale;
      out[at - first] = scaled + parts.nested_offset;
    }
  }
}

// The sixteen float32 codes as four tables: byte b of each, in both halves of a register.
struct FourBitTables {
  __m256i bytes[4];

  explicit FourBitTables(const float* quant_map) {
    // Of four codes each: their bytes 0, then their bytes 1, 2 and 3.
    const __m128i by_place = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m128i fours[4];
    for (int i = 0; i < 4; ++i) {
      const __m128i codes = _mm_castps_si128(_mm_loadu_ps(quant_map + 4 * i));
      fours[i] = _mm_shuffle_epi8(codes, by_place);
    }
    const __m128i low01 = _mm_unpacklo_epi32(fours[0], fours[1]);
    const __m128i low23 = _mm_unpacklo_epi32(fours[2], fours[3]);
    const __m128i high01 = _mm_unpackhi_epi32(fours[0], fours[1]);
    const __m128i high23 = _mm_unpackhi_epi32(fours[2], fours[3]);
    bytes[0] = _mm256_broadcastsi128_si256(_mm_unpacklo_epi64(low01, low23));
    bytes[1] = _mm256_broadcastsi128_si256(_mm_unpackhi_epi64(low01, low23));
    bytes[2] = _mm256_broadcastsi128_si256(_mm_unpacklo_epi64(high01, high23));
    bytes[3] = _mm256_broadcastsi128_si256(_mm_unpackhi_epi64(high01, high23));
  }

  // 32 codes as four vectors: lanes 0-3 of vector q are of indices 4 q + lane, 4-7 of those 16 on.
  void look_up(__m256i indices, __m256 (&values)[4]) const {
    const __m256i b0 = _mm256_shuffle_epi8(bytes[0], indices);
    const __m256i b1 = _mm256_shuffle_epi8(bytes[1], indices);
    const __m256i b2 = _mm256_shuffle_epi8(bytes[2], indices);
    const __m256i b3 = _mm256_shuffle_epi8(bytes[3], indices);
    const __m256i low0 = _mm256_unpacklo_epi8(b0, b1);
    const __m256i low1 = _mm256_unpackhi_epi8(b0, b1);
    const __m256i high0 = _mm256_unpacklo_epi8(b2, b3);
    const __m256i high1 = _mm256_unpackhi_epi8(b2, b3);
    values[0] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(low0, high0));
    values[1] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(low0, high0));
    values[2] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(low1, high1));
    values[3] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(low1, high1));
  }
};

}  // namespace shoehorn::avx2
