// 8-bit rows, eight values at a time; what is left at the end of a row one by one.
#include <cmath>
#include <cstdint>
#include <limits>

#include <immintrin.h>

#include "kernels/kv_rows_paths.h"

namespace shoehorn::avx2 {
namespace {

constexpr std::int64_t kLanes = 8;

float absmax(const float* x, std::int64_t width, bool* finite) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  const __m256 largest = _mm256_set1_ps(std::numeric_limits<float>::max());
  __m256 most = _mm256_setzero_ps();
  __m256 odd = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const __m256 size = _mm256_andnot_ps(sign, _mm256_loadu_ps(x + i));
    odd = _mm256_or_ps(odd, _mm256_cmp_ps(size, largest, _CMP_NLE_UQ));
    most = _mm256_max_ps(size, most);  // of a NaN: the other
  }
  if (_mm256_movemask_ps(odd) != 0) *finite = false;
  float lanes[kLanes];
  _mm256_storeu_ps(lanes, most);
  float result = 0;
  for (const float lane : lanes) result = lane > result ? lane : result;
  for (; i < width; ++i) {
    const float size = std::fabs(x[i]);
    if (!(size <= std::numeric_limits<float>::max())) *finite = false;
    result = size > result ? size : result;
  }
  return result;
}

void encode(const float* x, std::int64_t width, float inverse, std::byte* codes) {
  const __m256 factor = _mm256_set1_ps(inverse);
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const __m256i wide = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(codes + i), _mm_packs_epi16(words, words));
  }
  for (; i < width; ++i) {
    codes[i] = static_cast<std::byte>(_mm_cvtss_si32(_mm_set_ss(x[i] * inverse)));
  }
}

void decode(const std::byte* codes, std::int64_t width, float scale, float* out) {
  const __m256 factor = _mm256_set1_ps(scale);
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i));
    const __m256 wide = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    _mm256_storeu_ps(out + i, _mm256_mul_ps(wide, factor));
  }
  for (; i < width; ++i) {
    out[i] = static_cast<float>(static_cast<std::int8_t>(codes[i])) * scale;
  }
}

}  // namespace

const KvRowPath kKvRows = {.absmax = absmax, .encode = encode, .decode = decode};

}  // namespace shoehorn::avx2
