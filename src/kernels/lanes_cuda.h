// What kernels of CUDA devices share: sums over a warp and a block, values of a cache or a table as
// float32 and back, whether memory is aligned. Included by .cu files only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace shoehorn::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

/// The same sum in every lane; the order of additions is fixed.
__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, distance);
  }
  return value;
}

/// The same sum in every thread of a one-dimensional block of whole warps, at most 1024 threads.
/// `scratch` [32] in shared memory; it may be used again after the next __syncthreads().
__device__ inline float block_sum(float value, float* scratch) {
  const unsigned warp = threadIdx.x / kWarp;
  const unsigned lane = threadIdx.x % kWarp;
  value = warp_sum(value);
  if (blockDim.x == kWarp) return value;
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  value = lane < blockDim.x / kWarp ? scratch[lane] : 0.0F;
  return warp_sum(value);
}

__device__ inline float to_float(float value) {
  return value;
}
__device__ inline float to_float(__half value) {
  return __half2float(value);
}
__device__ inline float to_float(__nv_bfloat16 value) {
  return __bfloat162float(value);
}

/// Rounded to nearest, ties to even; too large for __half becomes infinity.
template <typename T>
__device__ inline T from_float(float value) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return value;
  } else {
    return T(value);
  }
}

/// 16 bytes of Ts, moved by one instruction.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T at[kSize];
};

/// 16 bytes at any address, of which only the first `count` are read; the others are 0.
__device__ inline uint4 gather_bytes(const void* at, std::int64_t count) {
  std::uint32_t words[4] = {};
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if (i < count) {
      words[i / 4] |= std::uint32_t{static_cast<const std::uint8_t*>(at)[i]} << (8 * (i % 4));
    }
  }
  return {words[0], words[1], words[2], words[3]};
}

/// The first multiple of `alignment`, a power of two, from an address of shared memory on.
__device__ inline std::uint32_t aligned_address(std::uint32_t address, std::uint32_t alignment) {
  return (address + alignment - 1) & ~(alignment - 1);
}

inline bool is_aligned(const void* address, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

inline bool are_aligned_16(std::initializer_list<const void*> addresses) {
  for (const void* const address : addresses) {
    if (!is_aligned(address, 16)) return false;
  }
  return true;
}

__host__ __device__ constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

}  // namespace shoehorn::cuda
