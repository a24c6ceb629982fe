// 8-bit rows, sixteen values at a time.
#include <cstdint>
#include <limits>

#include <immintrin.h>

#include "kernels/kv_rows_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {
namespace {

__mmask16 lanes_at(std::int64_t i, std::int64_t width) {
  return first_lanes(width - i < kLanes ? width - i : kLanes);
}

float absmax(const float* x, std::int64_t width, bool* finite) {
  const __m512 largest = _mm512_set1_ps(std::numeric_limits<float>::max());
  __m512 most = _mm512_setzero_ps();
  __mmask16 odd = 0;
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const __m512 size = _mm512_abs_ps(_mm512_maskz_loadu_ps(lanes_at(i, width), x + i));
    odd = static_cast<__mmask16>(odd | _mm512_cmp_ps_mask(size, largest, _CMP_NLE_UQ));
    most = _mm512_max_ps(size, most);  // of a NaN: the other
  }
  if (odd != 0) *finite = false;
  return _mm512_reduce_max_ps(most);
}

void encode(const float* x, std::int64_t width, float inverse, std::byte* codes) {
  const __m512 factor = _mm512_set1_ps(inverse);
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const __mmask16 lanes = lanes_at(i, width);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), factor);
    _mm512_mask_cvtsepi32_storeu_epi8(codes + i, lanes, _mm512_cvtps_epi32(scaled));
  }
}

void decode(const std::byte* codes, std::int64_t width, float scale, float* out) {
  const __m512 factor = _mm512_set1_ps(scale);
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const __mmask16 lanes = lanes_at(i, width);
    const __m512i wide = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(lanes, codes + i));
    _mm512_mask_storeu_ps(out + i, lanes, _mm512_mul_ps(_mm512_cvtepi32_ps(wide), factor));
  }
}

}  // namespace

const KvRowPath kKvRows = {.absmax = absmax, .encode = encode, .decode = decode};

}  // namespace shoehorn::avx512
