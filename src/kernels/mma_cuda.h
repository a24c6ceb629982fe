// Operands of products on tensor cores: pairs of 16-bit numbers. Included by .cu files only.
#pragma once

#include <cstdint>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/instructions_cuda.h"

namespace shoehorn::cuda {

/// Two numbers rounded to T, `first` in the lower half.
template <typename T>
__device__ inline std::uint32_t pack_pair(float first, float second) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    return reinterpret_cast<const std::uint32_t&>(pair);
  } else {
    static_assert(std::is_same_v<T, __half>);
    const __half2 pair = __floats2half2_rn(first, second);
    return reinterpret_cast<const std::uint32_t&>(pair);
  }
}

template <typename T>
__device__ inline float2 unpack_pair(std::uint32_t pair) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000U)};
  } else {
    return __half22float2(reinterpret_cast<const __half2&>(pair));
  }
}

/// A value that T can hold: a query beyond the range of __half would otherwise become infinite.
template <typename T>
__device__ inline float within_range(float value) {
  if constexpr (std::is_same_v<T, __half>) {
    return fminf(fmaxf(value, -65504.0F), 65504.0F);
  } else {
    return value;
  }
}

}  // namespace shoehorn::cuda
