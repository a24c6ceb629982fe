// What the AVX-512 kernels for four-bit weights share: absmax out of its 8-bit codes, and which
// lanes of a chunk of 64 packed bytes belong to which block. Static, as vector_avx512.h says why.
#pragma once

#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "kernels/vector_avx512.h"
#include "quant/weight_form.h"

namespace shoehorn::avx512 {

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
  const __m512 offset = _mm512_set1_ps(parts.nested_offset);
  const std::int64_t end = first + count;
  for (std::int64_t at = first; at < end;) {
    const std::int64_t nested = at / kNestedBlocksize;
    const __m512 scale = _mm512_set1_ps(parts.nested_absmax[nested]);
    const std::int64_t boundary = (nested + 1) * kNestedBlocksize;
    const std::int64_t stop = boundary < end ? boundary : end;
    for (; at < stop; at += kLanes) {
      const __mmask16 lanes = first_lanes(stop - at < kLanes ? stop - at : kLanes);
      const __m512i codes =
          _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, parts.absmax_codes + at));
      const __m512 values = _mm512_i32gather_ps(codes, parts.nested_quant_map, 4);
      _mm512_mask_storeu_ps(out + (at - first), lanes,
                            _mm512_add_ps(_mm512_mul_ps(values, scale), offset));
    }
    at = stop;
  }
}

// Lane l of a vector of dwords of 64 packed bytes holds values of the block 8 l / blocksize of the
// chunk: of four blocks of 32, two of 64, or one.
template <int Blocks>
static inline __m512 block_scales(const float* scales) {
  if (Blocks == 1) return _mm512_set1_ps(*scales);
  if (Blocks == 2) {
    const __m512i halves = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    double pair;  // of scales, so that the load itself repeats them
    std::memcpy(&pair, scales, sizeof(pair));
    return _mm512_permutexvar_ps(halves, _mm512_castpd_ps(_mm512_set1_pd(pair)));
  }
  const __m512i quarters = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  return _mm512_permutexvar_ps(quarters, _mm512_broadcast_f32x4(_mm_loadu_ps(scales)));
}

// The same of half a chunk, 32 bytes at the end of a row: zero in the upper lanes.
template <int Blocks>
static inline __m512 block_scales_of_half(const float* scales) {
  if (Blocks == 4) {
    const __m512i quarters = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2);
    return _mm512_permutexvar_ps(quarters, _mm512_maskz_loadu_ps(3, scales));
  }
  return _mm512_maskz_mov_ps(0xFF, _mm512_set1_ps(*scales));
}

}  // namespace shoehorn::avx512
