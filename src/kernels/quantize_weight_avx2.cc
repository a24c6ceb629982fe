// quantize_weight eight values at a time. A value finds its four-bit code by halving, as in the
// AVX-512 file; comparisons give -1 here, so counts are negative and the tables are laid out for
// that.
#include <cstddef>

#include <immintrin.h>

#include "kernels/quantize_weight_paths.h"
#include "quant/four_bit.h"

namespace shoehorn::avx2 {
namespace {

__m256i magnitude_bits(__m256 values) {
  return _mm256_and_si256(_mm256_castps_si256(values), _mm256_set1_epi32(0x7FFFFFFF));
}

/// The largest lane as the bits of a float: max |x|, NaN if any is NaN.
float largest(__m256i bits) {
  __m128i most = _mm_max_epu32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
  most = _mm_max_epu32(most, _mm_shuffle_epi32(most, _MM_SHUFFLE(1, 0, 3, 2)));
  most = _mm_max_epu32(most, _mm_shuffle_epi32(most, _MM_SHUFFLE(2, 3, 0, 1)));
  return _mm_cvtss_f32(_mm_castsi128_ps(most));
}

// --- LLM.int8() ---

/// Rounded to float16, as bitsandbytes takes nothing else.
__m256 through_f16(__m256 values) {
  return _mm256_cvtph_ps(_mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
}

/// Eight values at x + at, those from k on as zeros.
__m256 load_row(const float* x, std::int64_t at, std::int64_t k) {
  if (k - at >= 8) return _mm256_loadu_ps(x + at);
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i left = _mm256_set1_epi32(static_cast<int>(k - at));
  return _mm256_maskload_ps(x + at, _mm256_cmpgt_epi32(left, lanes));
}

/// Eight codes; 0 for NaN.
__m128i int8_codes(__m256 values, __m256 scale) {
  const __m256 scaled = _mm256_mul_ps(values, scale);
  const __m256 numbers = _mm256_cmp_ps(scaled, scaled, _CMP_ORD_Q);
  const __m256i codes = _mm256_and_si256(_mm256_cvtps_epi32(scaled), _mm256_castps_si256(numbers));
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
  return _mm_packs_epi16(words, words);
}

// --- four bits ---

/// Tables of the search, made of the 15 midpoints and the 16 codes. An index of -i is read modulo
/// the size of the table.
struct Search {
  __m256 first;      // midpoint 7
  __m256 second[2];  // 3 and 11
  __m256 third;      // 1, 5, 9, 13 at 0, -1, -2, -3
  __m256 fourth;     // 0, 2, ..., 14 at 0, -1, ..., -7
  __m256i codes;     // at 0, -1, ..., -15 in each 128 bits
};

Search make_search(const FourBitDecision& decision) {
  alignas(32) float third[8] = {};
  alignas(32) float fourth[8] = {};
  alignas(16) std::uint8_t codes[16] = {};
  for (std::size_t i = 0; i < 4; ++i) third[(8 - i) % 8] = decision.midpoints[4 * i + 1];
  for (std::size_t i = 0; i < 8; ++i) fourth[(8 - i) % 8] = decision.midpoints[2 * i];
  for (std::size_t i = 0; i < 16; ++i) codes[(16 - i) % 16] = decision.codes[i];
  return {.first = _mm256_set1_ps(decision.midpoints[7]),
          .second = {_mm256_set1_ps(decision.midpoints[3]), _mm256_set1_ps(decision.midpoints[11])},
          .third = _mm256_load_ps(third),
          .fourth = _mm256_load_ps(fourth),
          .codes =
              _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(codes)))};
}

/// -1 in lanes whose value is above the midpoint; NaN is above all.
__m256i above(__m256 values, __m256 midpoints) {
  return _mm256_castps_si256(_mm256_cmp_ps(values, midpoints, _CMP_NLE_UQ));
}

__m256i twice_plus(__m256i count, __m256i one) {
  return _mm256_add_epi32(_mm256_add_epi32(count, count), one);
}

/// Minus the number of midpoints that each value is above.
__m256i minus_midpoints_below(const Search& search, __m256 values) {
  __m256i count = above(values, search.first);
  const __m256 second =
      _mm256_blendv_ps(search.second[0], search.second[1], _mm256_castsi256_ps(count));
  count = twice_plus(count, above(values, second));
  count = twice_plus(count, above(values, _mm256_permutevar8x32_ps(search.third, count)));
  return twice_plus(count, above(values, _mm256_permutevar8x32_ps(search.fourth, count)));
}

/// 32 values of one block to 16 bytes.
void quantize_half_group(const Search& search, const float* x, __m256 reciprocal,
                         std::uint8_t* packed) {
  const auto counts = [&](std::ptrdiff_t at) {
    return minus_midpoints_below(search, _mm256_mul_ps(_mm256_loadu_ps(x + at), reciprocal));
  };
  // Narrowed within each 128 bits: four counts of every eight values in a row.
  const __m256i words_0 = _mm256_packs_epi32(counts(0), counts(8));
  const __m256i words_1 = _mm256_packs_epi32(counts(16), counts(24));
  const __m256i index =
      _mm256_and_si256(_mm256_packs_epi16(words_0, words_1), _mm256_set1_epi8(15));
  const __m256i codes = _mm256_shuffle_epi8(search.codes, index);
  // The earlier code of a pair times 16, plus the later one.
  static_assert(packed_pair(1, 0) == 16 && packed_pair(0, 1) == 1);
  const __m256i pairs = _mm256_maddubs_epi16(codes, _mm256_set1_epi16(0x0110));
  const __m256i bytes = _mm256_packus_epi16(pairs, pairs);
  const __m128i in_order =
      _mm_unpacklo_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(packed), in_order);
}

float block_maximum(const float* x, std::int64_t blocksize) {
  __m256i most = magnitude_bits(_mm256_loadu_ps(x));
  for (std::int64_t i = 8; i < blocksize; i += 8) {
    most = _mm256_max_epu32(most, magnitude_bits(_mm256_loadu_ps(x + i)));
  }
  return largest(most);
}

}  // namespace

float quantize_int8_row(const float* x, std::int64_t k, std::int8_t* cb) {
  __m256i most = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < k; i += 8) {
    most = _mm256_max_epu32(most, magnitude_bits(through_f16(load_row(x, i, k))));
  }
  const float stat = largest(most);
  const __m256 scale = _mm256_set1_ps((1.0F / stat) * 127.0F);
  for (std::int64_t i = 0; i < k; i += 8) {
    alignas(16) std::int8_t codes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(codes),
                    int8_codes(through_f16(load_row(x, i, k)), scale));
    const std::size_t left = static_cast<std::size_t>(k - i);
    __builtin_memcpy(cb + i, codes, left < 8 ? left : 8);
  }
  return stat;
}

void quantize_four_bit_groups(const FourBitDecision& decision, std::int64_t blocksize,
                              const float* x, std::int64_t groups, std::uint8_t* packed,
                              float* absmax) {
  const Search search = make_search(decision);
  const std::int64_t half = kFourBitGroup / 2;
  const std::int64_t blocks = groups * (blocksize < kFourBitGroup ? kFourBitGroup / blocksize : 1);
  for (std::int64_t b = 0; b < blocks; ++b) {
    absmax[b] = block_maximum(x, blocksize);
    // NaN stays.
    const float divisor = absmax[b] < kLeastAbsmax ? kLeastAbsmax : absmax[b];
    const __m256 reciprocal = _mm256_set1_ps(1.0F / divisor);
    for (std::int64_t i = 0; i < blocksize; i += half) {
      quantize_half_group(search, x, reciprocal, packed);
      x += half;
      packed += half / 2;
    }
  }
}

}  // namespace shoehorn::avx2
