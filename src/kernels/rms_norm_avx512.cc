// rms_norm, sixteen values at a time. Four sums hide the latency of the multiply-add.
#include <immintrin.h>

#include "kernels/rms_norm_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {
namespace {

float sum_of_squares(const float* x, std::int64_t size) {
  __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                    _mm512_setzero_ps()};
  std::int64_t i = 0;
  for (; i + 64 <= size; i += 64) {
    for (int j = 0; j < 4; ++j) {
      const __m512 v = _mm512_loadu_ps(x + i + 16 * j);
      sums[j] = _mm512_fmadd_ps(v, v, sums[j]);
    }
  }
  for (; i + 16 <= size; i += 16) {
    const __m512 v = _mm512_loadu_ps(x + i);
    sums[0] = _mm512_fmadd_ps(v, v, sums[0]);
  }
  const __m512 v = _mm512_maskz_loadu_ps(first_lanes(size - i), x + i);
  sums[1] = _mm512_fmadd_ps(v, v, sums[1]);
  return _mm512_reduce_add_ps(
      _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

}  // namespace

void rms_norm_row(const float* x, const float* weight, float offset, float eps, std::int64_t size,
                  float* y) {
  const float mean = sum_of_squares(x, size) / static_cast<float>(size);
  const __m512 scales = _mm512_set1_ps(1.0F / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean + eps))));
  const __m512 offsets = _mm512_set1_ps(offset);
  for (std::int64_t i = 0; i < size; i += 16) {
    const __mmask16 lanes = first_lanes(size - i < 16 ? size - i : 16);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), scales);
    const __m512 weights = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, weight + i), offsets);
    _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(weights, scaled));
  }
}

}  // namespace shoehorn::avx512
