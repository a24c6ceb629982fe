// The activation family, sixteen values at a time.
#include <immintrin.h>

#include "kernels/activation_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {
namespace {

/// z / (1 + exp(-u))
__m512 times_sigmoid(__m512 z, __m512 u) {
  const __m512 e = exp(_mm512_sub_ps(_mm512_setzero_ps(), u));
  return _mm512_div_ps(z, _mm512_add_ps(_mm512_set1_ps(1.0F), e));
}

__m512 gelu(__m512 z) {
  const __m512 r = _mm512_mul_ps(_mm512_abs_ps(z), _mm512_set1_ps(0.70710678F));
  const __m512 one = _mm512_set1_ps(1.0F);
  const __m512 half = _mm512_set1_ps(0.5F);
  const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(half, r, one));
  __m512 sum = _mm512_set1_ps(kErfc[0]);
  for (int i = 1; i < 10; ++i) sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(kErfc[i]));
  // The halved erfc is what lies beyond |z| of the bell curve.
  const __m512 beyond = _mm512_mul_ps(_mm512_mul_ps(half, t), exp(_mm512_fnmadd_ps(r, r, sum)));
  const __mmask16 is_negative = _mm512_movepi32_mask(_mm512_castps_si512(z));
  const __m512 share = _mm512_mask_mov_ps(_mm512_sub_ps(one, beyond), is_negative, beyond);
  return _mm512_mul_ps(z, share);
}

template <Activation kActivation>
__m512 apply(__m512 z) {
  if constexpr (kActivation == Activation::kSilu) return times_sigmoid(z, z);
  if constexpr (kActivation == Activation::kGelu) return gelu(z);
  if constexpr (kActivation == Activation::kQuickGelu) {
    return times_sigmoid(z, _mm512_mul_ps(z, _mm512_set1_ps(kQuickGeluScale)));
  }
  if constexpr (kActivation == Activation::kGeluTanh) {
    const __m512 cube = _mm512_mul_ps(_mm512_mul_ps(z, z), z);
    const __m512 inner = _mm512_fmadd_ps(_mm512_set1_ps(kGeluTanhCube), cube, z);
    return times_sigmoid(z, _mm512_mul_ps(_mm512_set1_ps(2 * kGeluTanhScale), inner));
  }
  // The operand order makes max return z where it is NaN.
  const __m512 positive = _mm512_max_ps(_mm512_setzero_ps(), z);
  return kActivation == Activation::kRelu ? positive : _mm512_mul_ps(positive, positive);
}

template <Activation kActivation>
void run(const float* x, const float* up, std::int64_t size, float* out) {
  for (std::int64_t i = 0; i < size; i += kLanes) {
    const __mmask16 lanes = first_lanes(size - i < kLanes ? size - i : kLanes);
    __m512 y = apply<kActivation>(_mm512_maskz_loadu_ps(lanes, x + i));
    if (up != nullptr) y = _mm512_mul_ps(y, _mm512_maskz_loadu_ps(lanes, up + i));
    _mm512_mask_storeu_ps(out + i, lanes, y);
  }
}

}  // namespace

void activate(Activation activation, const float* x, const float* up, std::int64_t size,
              float* out) {
  switch (activation) {
    case Activation::kSilu: return run<Activation::kSilu>(x, up, size, out);
    case Activation::kGelu: return run<Activation::kGelu>(x, up, size, out);
    case Activation::kGeluTanh: return run<Activation::kGeluTanh>(x, up, size, out);
    case Activation::kQuickGelu: return run<Activation::kQuickGelu>(x, up, size, out);
    case Activation::kRelu: return run<Activation::kRelu>(x, up, size, out);
    case Activation::kRelu2: return run<Activation::kRelu2>(x, up, size, out);
  }
}

}  // namespace shoehorn::avx512
