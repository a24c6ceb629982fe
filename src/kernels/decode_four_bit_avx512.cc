// Four-bit values as float32, sixteen at a time: each lane shifts its code down, a permutation
// looks it up (it reads only the low four bits of an index), and absmax scales it.
#include <immintrin.h>

#include "kernels/decode_four_bit_paths.h"
#include "kernels/four_bit_avx512.h"

namespace shoehorn::avx512 {
namespace {

// Sixteen values from 8 packed bytes, or fewer: the earlier of a byte is its high half.
__m512 look_up(__m128i bytes, __m512 table) {
  const __m512i halves = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const __m512i shifts =
      _mm512_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24, 4, 0, 12, 8, 20, 16, 28, 24);
  const __m512i words = _mm512_permutexvar_epi32(halves, _mm512_castsi128_si512(bytes));
  return _mm512_permutexvar_ps(_mm512_srlv_epi32(words, shifts), table);
}

}  // namespace

void decode_four_bit(const FourBitParts& parts, std::int64_t first, std::int64_t count,
                     float* out) {
  const __m512 table = _mm512_loadu_ps(parts.quant_map);
  const std::int64_t last = first + count;
  for (std::int64_t at = first; at < last;) {
    const std::int64_t block = at / parts.blocksize;
    const float absmax = absmax_at(parts, block);
    const __m512 scale = _mm512_set1_ps(absmax);
    const std::int64_t end =
        (block + 1) * parts.blocksize < last ? (block + 1) * parts.blocksize : last;
    if (at % 2 != 0) {
      *out++ = parts.quant_map[parts.packed[at / 2] & 15] * absmax;
      ++at;
    }
    for (; at + kLanes <= end; at += kLanes, out += kLanes) {
      const __m128i bytes =
          _mm_loadl_epi64(reinterpret_cast<const __m128i*>(parts.packed + at / 2));
      _mm512_storeu_ps(out, _mm512_mul_ps(look_up(bytes, table), scale));
    }
    if (at < end) {
      const auto bytes = static_cast<__mmask16>(first_lanes((end - at + 1) / 2));
      const __m512 values = look_up(_mm_maskz_loadu_epi8(bytes, parts.packed + at / 2), table);
      _mm512_mask_storeu_ps(out, first_lanes(end - at), _mm512_mul_ps(values, scale));
      out += end - at;
      at = end;
    }
  }
}

}  // namespace shoehorn::avx512
