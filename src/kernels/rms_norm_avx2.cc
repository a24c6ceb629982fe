// rms_norm, eight values at a time. Four sums hide the latency of the multiply-add.
#include <immintrin.h>

#include "kernels/rms_norm_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {
namespace {

float sum_of_squares(const float* x, std::int64_t size) {
  __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                    _mm256_setzero_ps()};
  std::int64_t i = 0;
  for (; i + 32 <= size; i += 32) {
    for (int j = 0; j < 4; ++j) {
      const __m256 v = _mm256_loadu_ps(x + i + 8 * j);
      sums[j] = _mm256_fmadd_ps(v, v, sums[j]);
    }
  }
  for (; i + 8 <= size; i += 8) {
    const __m256 v = _mm256_loadu_ps(x + i);
    sums[0] = _mm256_fmadd_ps(v, v, sums[0]);
  }
  float tail = 0;
  for (; i < size; ++i) tail += x[i] * x[i];
  return tail + reduce_add(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]),
                                         _mm256_add_ps(sums[2], sums[3])));
}

}  // namespace

void rms_norm_row(const float* x, const float* weight, float offset, float eps, std::int64_t size,
                  float* y) {
  const float mean = sum_of_squares(x, size) / static_cast<float>(size);
  const float scale = 1.0F / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean + eps)));
  const __m256 scales = _mm256_set1_ps(scale);
  const __m256 offsets = _mm256_set1_ps(offset);
  std::int64_t i = 0;
  for (; i + 8 <= size; i += 8) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), scales);
    const __m256 weights = _mm256_add_ps(_mm256_loadu_ps(weight + i), offsets);
    _mm256_storeu_ps(y + i, _mm256_mul_ps(weights, scaled));
  }
  for (; i < size; ++i) y[i] = (weight[i] + offset) * (x[i] * scale);
}

}  // namespace shoehorn::avx2
