// quantize_weight sixteen values at a time. A value finds its four-bit code by halving: each of the
// four comparisons picks, by table look-up, the midpoint that the next one needs. Fifteen
// comparisons would take twice as long, all of them on the one port that writes mask registers.
#include <cstddef>

#include <immintrin.h>

#include "kernels/quantize_weight_paths.h"
#include "quant/four_bit.h"

namespace shoehorn::avx512 {
namespace {

__m512i magnitude_bits(__m512 values) {
  return _mm512_and_si512(_mm512_castps_si512(values), _mm512_set1_epi32(0x7FFFFFFF));
}

float as_float(unsigned bits) {
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(bits))));
}

// --- LLM.int8() ---

/// Rounded to float16, as bitsandbytes takes nothing else.
__m512 through_f16(__m512 values) {
  return _mm512_cvtph_ps(_mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
}

/// The first k - at lanes.
__mmask16 lanes_left(std::int64_t at, std::int64_t k) {
  return k - at >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1U << (k - at)) - 1);
}

/// max |x|, NaN if any is NaN: the bits of magnitudes compare as the magnitudes do.
float row_maximum(const float* x, std::int64_t k) {
  __m512i most = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < k; i += 16) {
    const __m512 values = through_f16(_mm512_maskz_loadu_ps(lanes_left(i, k), x + i));
    most = _mm512_max_epu32(most, magnitude_bits(values));
  }
  return as_float(_mm512_reduce_max_epu32(most));
}

// --- four bits ---

/// Tables of the search, made of the 15 midpoints and the 16 codes.
struct Search {
  __m512 first;      // midpoint 7
  __m512 second[2];  // 3 and 11
  __m512 third;      // 1, 5, 9, 13 at 0, 4, 8, 12
  __m512 fourth;     // 0, 2, ..., 14 at 0, 2, ..., 14
  __m512i codes;     // in each 128 bits
};

Search make_search(const FourBitDecision& decision) {
  alignas(64) float third[16] = {};
  alignas(64) float fourth[16] = {};
  for (std::size_t i = 0; i < 16; i += 4) third[i] = decision.midpoints[i + 1];
  for (std::size_t i = 0; i < 16; i += 2) fourth[i] = decision.midpoints[i];
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&decision.codes));
  return {.first = _mm512_set1_ps(decision.midpoints[7]),
          .second = {_mm512_set1_ps(decision.midpoints[3]), _mm512_set1_ps(decision.midpoints[11])},
          .third = _mm512_load_ps(third),
          .fourth = _mm512_load_ps(fourth),
          .codes = _mm512_broadcast_i32x4(codes)};
}

/// Lanes whose value is above the midpoint; NaN is above all.
__mmask16 above(__m512 values, __m512 midpoints) {
  return _mm512_cmp_ps_mask(values, midpoints, _CMP_NLE_UQ);
}

__m512i plus_where(__m512i sums, __mmask16 mask, int amount) {
  return _mm512_mask_add_epi32(sums, mask, sums, _mm512_set1_epi32(amount));
}

/// How many midpoints each value is above.
__m512i midpoints_below(const Search& search, __m512 values) {
  const __mmask16 upper = above(values, search.first);
  __m512i count = _mm512_maskz_set1_epi32(upper, 8);
  const __m512 second = _mm512_mask_blend_ps(upper, search.second[0], search.second[1]);
  count = plus_where(count, above(values, second), 4);
  count = plus_where(count, above(values, _mm512_permutexvar_ps(count, search.third)), 2);
  return plus_where(count, above(values, _mm512_permutexvar_ps(count, search.fourth)), 1);
}

/// 64 values, the halves with a reciprocal each, to 32 bytes.
void quantize_group(const Search& search, const float* x, __m512 first, __m512 second,
                    std::uint8_t* packed) {
  const auto counts = [&](std::ptrdiff_t at, __m512 reciprocal) {
    return midpoints_below(search, _mm512_mul_ps(_mm512_loadu_ps(x + at), reciprocal));
  };
  // Narrowed within each 128 bits: four counts of every sixteen values in a row.
  const __m512i words_0 = _mm512_packs_epi32(counts(0, first), counts(16, first));
  const __m512i words_1 = _mm512_packs_epi32(counts(32, second), counts(48, second));
  const __m512i codes = _mm512_shuffle_epi8(search.codes, _mm512_packus_epi16(words_0, words_1));
  // The earlier code of a pair times 16, plus the later one.
  static_assert(packed_pair(1, 0) == 16 && packed_pair(0, 1) == 1);
  const __m256i pairs =
      _mm512_cvtepi16_epi8(_mm512_maddubs_epi16(codes, _mm512_set1_epi16(0x0110)));
  const __m256i order = _mm256_setr_epi16(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(packed), _mm256_permutexvar_epi16(order, pairs));
}

float block_maximum(const float* x, std::int64_t blocksize) {
  __m512i most = magnitude_bits(_mm512_loadu_ps(x));
  for (std::int64_t i = 16; i < blocksize; i += 16) {
    most = _mm512_max_epu32(most, magnitude_bits(_mm512_loadu_ps(x + i)));
  }
  return as_float(_mm512_reduce_max_epu32(most));
}

/// What complete blocks are multiplied by; NaN stays.
__m512 reciprocal_of(float absmax) {
  return _mm512_set1_ps(1.0F / (absmax < kLeastAbsmax ? kLeastAbsmax : absmax));
}

}  // namespace

float quantize_int8_row(const float* x, std::int64_t k, std::int8_t* cb) {
  const float stat = row_maximum(x, k);
  const __m512 scale = _mm512_set1_ps((1.0F / stat) * 127.0F);
  for (std::int64_t i = 0; i < k; i += 16) {
    const __mmask16 lanes = lanes_left(i, k);
    const __m512 values = through_f16(_mm512_maskz_loadu_ps(lanes, x + i));
    // NaN becomes 0x80000000, whose low byte is the 0 that it should be.
    const __m512i codes = _mm512_cvtps_epi32(_mm512_mul_ps(values, scale));
    _mm512_mask_cvtepi32_storeu_epi8(cb + i, lanes, codes);
  }
  return stat;
}

void quantize_four_bit_groups(const FourBitDecision& decision, std::int64_t blocksize,
                              const float* x, std::int64_t groups, std::uint8_t* packed,
                              float* absmax) {
  const Search search = make_search(decision);
  const std::int64_t half = kFourBitGroup / 2;
  for (std::int64_t g = 0; g < groups; ++g) {
    if (blocksize == half) {
      absmax[0] = block_maximum(x, half);
      absmax[1] = block_maximum(x + half, half);
      quantize_group(search, x, reciprocal_of(absmax[0]), reciprocal_of(absmax[1]), packed);
      absmax += 2;
      x += kFourBitGroup;
      packed += half;
      continue;
    }
    *absmax = block_maximum(x, blocksize);
    const __m512 reciprocal = reciprocal_of(*absmax++);
    for (std::int64_t i = 0; i < blocksize; i += kFourBitGroup) {
      quantize_group(search, x, reciprocal, reciprocal, packed);
      x += kFourBitGroup;
      packed += half;
    }
  }
}

}  // namespace shoehorn::avx512
