// Rows of x to int8, eight values at a time.
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "kernels/linear_int8_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {
namespace {

constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

__m256 load_rounded_to_f16(const float* x, std::int64_t i, std::int64_t k) {
  if (i >= k) return _mm256_setzero_ps();
  const __m256 value =
      i + kLanes <= k ? _mm256_loadu_ps(x + i) : _mm256_maskload_ps(x + i, first_lanes(k - i));
  return _mm256_cvtph_ps(_mm256_cvtps_ph(value, kNearest));
}

__m256 abs(__m256 value) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), value);
}

float scan(const float* x, std::int64_t k, float threshold, std::uint8_t* outliers) {
  const __m256 limit = _mm256_set1_ps(threshold);
  __m256 most = _mm256_setzero_ps();
  __m256 not_numbers = _mm256_setzero_ps();
  for (std::int64_t i = 0; i < k; i += kLanes) {
    const __m256 value = abs(load_rounded_to_f16(x, i, k));
    const __m256 is_outlier = _mm256_cmp_ps(value, limit, _CMP_GE_OQ);
    not_numbers = _mm256_or_ps(not_numbers, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    most = _mm256_max_ps(_mm256_andnot_ps(is_outlier, value), most);
    outliers[i / 8] |= static_cast<std::uint8_t>(_mm256_movemask_ps(is_outlier));
  }
  return _mm256_movemask_ps(not_numbers) != 0 ? __builtin_nanf("") : reduce_max(most);
}

std::int32_t quantize(const float* x, std::int64_t k, float threshold, float stat, std::int8_t* q) {
  const float reciprocal = 1.0F / stat;
  const __m256 scale = _mm256_set1_ps(reciprocal * 127.0F);
  const __m256 limit = _mm256_set1_ps(threshold);
  __m256i sums = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < padded_int8_depth(k); i += kLanes) {
    const __m256 value = load_rounded_to_f16(x, i, k);
    const __m256 scaled = _mm256_round_ps(_mm256_mul_ps(value, scale), kNearest);
    const __m256 is_outlier = _mm256_cmp_ps(abs(value), limit, _CMP_GE_OQ);
    const __m256 is_number = _mm256_cmp_ps(scaled, scaled, _CMP_ORD_Q);
    const __m256 kept = _mm256_and_ps(_mm256_andnot_ps(is_outlier, is_number), scaled);
    const __m256i codes = _mm256_cvtps_epi32(kept);
    sums = _mm256_add_epi32(sums, codes);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(q + i), _mm_packs_epi16(words, words));
  }
  alignas(32) std::int32_t lanes[kLanes];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sums);
  std::int32_t sum = 0;
  for (const std::int32_t lane : lanes) sum += lane;
  return sum;
}

// Four codes at a time; a thousandth of the product's time, so no transposition in registers.
void pack(const std::int8_t* q, std::int64_t ldq, std::int64_t depth, std::int8_t* panel) {
  for (std::int64_t i = 0; i < depth; i += 4) {
    for (std::int64_t m = 0; m < kInt8PanelRows; ++m) {
      std::memcpy(panel + i * kInt8PanelRows + 4 * m, q + m * ldq + i, 4);
    }
  }
}

}  // namespace

const Int8RowPath kInt8Rows = {.scan = scan, .quantize = quantize, .pack = pack};

}  // namespace shoehorn::avx2
