// The activations on a CUDA device, a value at a time. Included by .cu files only.
#pragma once

#include "kernels/activation.h"

namespace shoehorn::cuda {

inline constexpr float kHalfRoot = 0.70710678F;        // 1 / √2
inline constexpr float kGeluTanhScale = 0.797884561F;  // √(2/π)
inline constexpr float kGeluTanhCube = 0.044715F;
inline constexpr float kQuickGeluScale = 1.702F;

/// activation(z), as activate() has it.
template <Activation kActivation>
__device__ inline float activated(float z) {
  if constexpr (kActivation == Activation::kSilu) return z / (1.0F + expf(-z));
  if constexpr (kActivation == Activation::kGelu) return 0.5F * z * erfcf(-kHalfRoot * z);
  if constexpr (kActivation == Activation::kGeluTanh) {
    // (1 + tanh(u)) / 2 is sigmoid(2 u), which loses nothing where tanh is near -1.
    const float u = kGeluTanhScale * (z + kGeluTanhCube * (z * z * z));
    return z / (1.0F + expf(-2.0F * u));
  }
  if constexpr (kActivation == Activation::kQuickGelu) {
    return z / (1.0F + expf(-kQuickGeluScale * z));
  }
  // Comparisons rather than fmaxf: NaN stays NaN.
  if constexpr (kActivation == Activation::kRelu) return z < 0.0F ? 0.0F : z;
  if constexpr (kActivation == Activation::kRelu2) return z < 0.0F ? 0.0F : z * z;
}

/// The same of an activation that the kernel is told.
__device__ inline float activated(Activation activation, float z) {
  switch (activation) {
    case Activation::kSilu: return activated<Activation::kSilu>(z);
    case Activation::kGelu: return activated<Activation::kGelu>(z);
    case Activation::kGeluTanh: return activated<Activation::kGeluTanh>(z);
    case Activation::kQuickGelu: return activated<Activation::kQuickGelu>(z);
    case Activation::kRelu: return activated<Activation::kRelu>(z);
    case Activation::kRelu2: return activated<Activation::kRelu2>(z);
  }
  return z;
}

}  // namespace shoehorn::cuda
