// What turns integer sums into outputs on a CUDA device (Int8Output, linear_int8_paths.h). Included
// by .cu files only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear_int8_cuda_paths.h"

namespace shoehorn::cuda {

/// SCB of a weight, and the constant that stands for 1 / 127^2.
struct Int8Scales {
  const std::byte* scb = nullptr;  // float32 [n], any alignment
  float constant = kInt8Constant;

  static Int8Scales of(const LinearTask& task) {
    const WeightView& weight = *task.weight;
    return {weight.data + int8_layout(weight.shape[0], weight.shape[1]).scb,
            weight.compute.bnb_cpu_constant ? kInt8BnbCpuConstant : kInt8Constant};
  }

  __device__ float scb_of(std::int64_t n) const {
    std::uint32_t bits = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      bits |= static_cast<std::uint32_t>(scb[4 * n + i]) << (8 * i);
    }
    return __uint_as_float(bits);
  }
};

/// fl(fl(sum · fl(stat · scb)) · constant)
__device__ inline float int8_scaled(float sum, float stat, float scb, float constant) {
  return __fmul_rn(__fmul_rn(sum, __fmul_rn(stat, scb)), constant);
}

/// fl(fl(code · scb) · (1 / 127)): a weight as a float.
__device__ inline float int8_weight(std::int8_t code, float scb) {
  return __fmul_rn(__fmul_rn(static_cast<float>(code), scb), kInt8Inverse127);
}

}  // namespace shoehorn::cuda
