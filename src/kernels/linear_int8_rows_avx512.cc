// Rows of x to int8, sixteen values at a time, and side by side as the blocked product takes them.
#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_int8_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {
namespace {

constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

__m512 load_rounded_to_f16(const float* x, __mmask16 lanes) {
  return _mm512_cvtph_ps(_mm512_cvtps_ph(_mm512_maskz_loadu_ps(lanes, x), kNearest));
}

__mmask16 lanes_at(std::int64_t i, std::int64_t k) {
  return first_lanes(k - i < kLanes ? (k > i ? k - i : 0) : kLanes);
}

float scan(const float* x, std::int64_t k, float threshold, std::uint8_t* outliers) {
  const __m512 limit = _mm512_set1_ps(threshold);
  __m512 most = _mm512_setzero_ps();
  __mmask16 not_numbers = 0;
  for (std::int64_t i = 0; i < k; i += kLanes) {
    const __m512 value = _mm512_abs_ps(load_rounded_to_f16(x + i, lanes_at(i, k)));
    const __mmask16 is_outlier = _mm512_cmp_ps_mask(value, limit, _CMP_GE_OQ);
    not_numbers |= _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    most = _mm512_mask_max_ps(most, static_cast<__mmask16>(~is_outlier), most, value);
    if (is_outlier != 0) {
      outliers[i / 8] |= static_cast<std::uint8_t>(is_outlier);
      // The row may end in this byte: then there is no other.
      if (is_outlier > 0xFF) outliers[i / 8 + 1] |= static_cast<std::uint8_t>(is_outlier >> 8);
    }
  }
  return not_numbers != 0 ? __builtin_nanf("") : _mm512_reduce_max_ps(most);
}

std::int32_t quantize(const float* x, std::int64_t k, float threshold, float stat, std::int8_t* q) {
  const float reciprocal = 1.0F / stat;
  const __m512 scale = _mm512_set1_ps(reciprocal * 127.0F);
  const __m512 limit = _mm512_set1_ps(threshold);
  __m512i sum = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < padded_int8_depth(k); i += kLanes) {
    const __mmask16 lanes = lanes_at(i, k);
    const __m512 value = load_rounded_to_f16(x + i, lanes);
    const __m512 scaled = _mm512_mul_ps(value, scale);
    const __mmask16 is_outlier = _mm512_cmp_ps_mask(_mm512_abs_ps(value), limit, _CMP_GE_OQ);
    const __mmask16 is_number = _mm512_cmp_ps_mask(scaled, scaled, _CMP_ORD_Q);
    const __m512i codes = _mm512_maskz_cvt_roundps_epi32(
        static_cast<__mmask16>(is_number & ~is_outlier), scaled, kNearest);
    sum = _mm512_add_epi32(sum, codes);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + i), _mm512_cvtepi32_epi8(codes));
  }
  return _mm512_reduce_add_epi32(sum);
}

// Four codes are moved as one float.
void pack(const std::int8_t* q, std::int64_t ldq, std::int64_t depth, std::int8_t* panel) {
  for (std::int64_t i = 0; i < depth; i += kInt8Pad) {
    __m512 block[16];
#pragma GCC unroll 16
    for (int m = 0; m < 16; ++m) {
      block[m] = _mm512_castsi512_ps(_mm512_loadu_si512(q + m * ldq + i));
    }
    transpose(block);
#pragma GCC unroll 16
    for (std::int64_t j = 0; j < 16; ++j) {
      _mm512_storeu_si512(panel + i * kInt8PanelRows + j * 64, _mm512_castps_si512(block[j]));
    }
  }
}

}  // namespace

const Int8RowPath kInt8Rows = {.scan = scan, .quantize = quantize, .pack = pack};

}  // namespace shoehorn::avx512
