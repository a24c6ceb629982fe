// The activation family, eight values at a time.
#include <immintrin.h>

#include "kernels/activation_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {
namespace {

__m256 negated(__m256 z) {
  return _mm256_sub_ps(_mm256_setzero_ps(), z);
}

/// z / (1 + exp(-u))
__m256 times_sigmoid(__m256 z, __m256 u) {
  return _mm256_div_ps(z, _mm256_add_ps(_mm256_set1_ps(1.0F), exp(negated(u))));
}

__m256 gelu(__m256 z) {
  const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), z);
  const __m256 r = _mm256_mul_ps(magnitude, _mm256_set1_ps(0.70710678F));
  const __m256 one = _mm256_set1_ps(1.0F);
  const __m256 half = _mm256_set1_ps(0.5F);
  const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(half, r, one));
  __m256 sum = _mm256_set1_ps(kErfc[0]);
  for (int i = 1; i < 10; ++i) sum = _mm256_fmadd_ps(sum, t, _mm256_set1_ps(kErfc[i]));
  // The halved erfc is what lies beyond |z| of the bell curve.
  const __m256 beyond = _mm256_mul_ps(_mm256_mul_ps(half, t), exp(_mm256_fnmadd_ps(r, r, sum)));
  const __m256 share = _mm256_blendv_ps(_mm256_sub_ps(one, beyond), beyond, z);
  return _mm256_mul_ps(z, share);
}

template <Activation kActivation>
__m256 apply(__m256 z) {
  if constexpr (kActivation == Activation::kSilu) return times_sigmoid(z, z);
  if constexpr (kActivation == Activation::kGelu) return gelu(z);
  if constexpr (kActivation == Activation::kQuickGelu) {
    return times_sigmoid(z, _mm256_mul_ps(z, _mm256_set1_ps(kQuickGeluScale)));
  }
  if constexpr (kActivation == Activation::kGeluTanh) {
    const __m256 cube = _mm256_mul_ps(_mm256_mul_ps(z, z), z);
    const __m256 inner = _mm256_fmadd_ps(_mm256_set1_ps(kGeluTanhCube), cube, z);
    return times_sigmoid(z, _mm256_mul_ps(_mm256_set1_ps(2 * kGeluTanhScale), inner));
  }
  // The operand order makes max return z where it is NaN.
  const __m256 positive = _mm256_max_ps(_mm256_setzero_ps(), z);
  return kActivation == Activation::kRelu ? positive : _mm256_mul_ps(positive, positive);
}

template <Activation kActivation>
void run(const float* x, const float* up, std::int64_t size, float* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    __m256 y = apply<kActivation>(_mm256_loadu_ps(x + i));
    if (up != nullptr) y = _mm256_mul_ps(y, _mm256_loadu_ps(up + i));
    _mm256_storeu_ps(out + i, y);
  }
  if (i == size) return;
  __m256 y =
      apply<kActivation>(load_part<LoadF32>(reinterpret_cast<const std::byte*>(x), i, size - i));
  if (up != nullptr) {
    y = _mm256_mul_ps(y, load_part<LoadF32>(reinterpret_cast<const std::byte*>(up), i, size - i));
  }
  alignas(32) float last[kLanes];
  _mm256_store_ps(last, y);
  for (std::int64_t j = 0; i < size; ++i, ++j) out[i] = last[j];
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

}  // namespace shoehorn::avx2
