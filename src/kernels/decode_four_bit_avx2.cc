// Four-bit values as float32, 32 at a time: codes are brought into order and looked up as four
// bytes each (four_bit_avx2.h), then scaled by absmax.
#include <immintrin.h>

#include "kernels/decode_four_bit_paths.h"
#include "kernels/four_bit_avx2.h"

namespace shoehorn::avx2 {
namespace {

constexpr std::int64_t kStep = 32;

// 32 values from 16 packed bytes: the earlier of a byte is its high half.
void decode_step(const std::uint8_t* packed, const FourBitTables& tables, float absmax,
                 float* out) {
  const __m128i nibble = _mm_set1_epi8(15);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(packed));
  const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble);
  const __m128i low = _mm_and_si128(bytes, nibble);
  __m256 values[4];
  tables.look_up(_mm256_set_m128i(_mm_unpackhi_epi8(high, low), _mm_unpacklo_epi8(high, low)),
                 values);
  const __m256 scale = _mm256_set1_ps(absmax);
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    const __m256 scaled = _mm256_mul_ps(values[q], scale);
    _mm_storeu_ps(out + 4 * q, _mm256_castps256_ps128(scaled));
    _mm_storeu_ps(out + 16 + 4 * q, _mm256_extractf128_ps(scaled, 1));
  }
}

}  // namespace

void decode_four_bit(const FourBitParts& parts, std::int64_t first, std::int64_t count,
                     float* out) {
  const FourBitTables tables(parts.quant_map);
  const std::int64_t last = first + count;
  for (std::int64_t at = first; at < last;) {
    const std::int64_t block = at / parts.blocksize;
    const float absmax = absmax_at(parts, block);
    const std::int64_t end =
        (block + 1) * parts.blocksize < last ? (block + 1) * parts.blocksize : last;
    while (at < end) {
      if (at % 2 == 0 && at + kStep <= end) {
        decode_step(parts.packed + at / 2, tables, absmax, out);
        at += kStep;
        out += kStep;
      } else {
        const int byte = parts.packed[at / 2];
        *out++ = parts.quant_map[at % 2 == 0 ? byte >> 4 : byte & 15] * absmax;
        ++at;
      }
    }
  }
}

}  // namespace shoehorn::avx2
