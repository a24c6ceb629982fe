// What the AVX2 kernels for four-bit weights share: absmax out of its 8-bit codes. Static, as
// vector_avx2.h says why.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "kernels/vector_avx2.h"
#include "quant/weight_form.h"

namespace shoehorn::avx2 {

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

}  // namespace shoehorn::avx2
