// The activation family, eight values at a time.
#include <immintrin.h>

#include "kernels/activation_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {
namespace {

__m256 silu(__m256 z) {
  const __m256 e = exp(_mm256_sub_ps(_mm256_setzero_ps(), z));
  return _mm256_div_ps(z, _mm256_add_ps(_mm256_set1_ps(1.0F), e));
}

}  // namespace

void silu_mul(const float* gate, const float* up, std::int64_t size, float* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    _mm256_storeu_ps(out + i,
                     _mm256_mul_ps(silu(_mm256_loadu_ps(gate + i)), _mm256_loadu_ps(up + i)));
  }
  if (i == size) return;
  const auto* const gate_bytes = reinterpret_cast<const std::byte*>(gate);
  const auto* const up_bytes = reinterpret_cast<const std::byte*>(up);
  alignas(32) float last[kLanes];
  _mm256_store_ps(last, _mm256_mul_ps(silu(load_part<LoadF32>(gate_bytes, i, size - i)),
                                      load_part<LoadF32>(up_bytes, i, size - i)));
  for (std::int64_t j = 0; i < size; ++i, ++j) out[i] = last[j];
}

}  // namespace shoehorn::avx2
