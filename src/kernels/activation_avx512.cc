// The activation family, sixteen values at a time.
#include <immintrin.h>

#include "kernels/activation_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {
namespace {

__m512 silu(__m512 z) {
  const __m512 e = exp(_mm512_sub_ps(_mm512_setzero_ps(), z));
  return _mm512_div_ps(z, _mm512_add_ps(_mm512_set1_ps(1.0F), e));
}

}  // namespace

void silu_mul(const float* gate, const float* up, std::int64_t size, float* out) {
  for (std::int64_t i = 0; i < size; i += kLanes) {
    const __mmask16 lanes = first_lanes(size - i < kLanes ? size - i : kLanes);
    const __m512 gated = silu(_mm512_maskz_loadu_ps(lanes, gate + i));
    _mm512_mask_storeu_ps(out + i, lanes,
                          _mm512_mul_ps(gated, _mm512_maskz_loadu_ps(lanes, up + i)));
  }
}

}  // namespace shoehorn::avx512
