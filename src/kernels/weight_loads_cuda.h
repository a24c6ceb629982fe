// Stored weights are read once: 16 bytes a lane, past the nearest cache, which is left to what is
// read again. Included by .cu files only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoehorn::cuda {

/// 16 bytes at a multiple of 16, which nobody writes while the kernel runs.
__device__ inline uint4 load_once(const void* at) {
  uint4 bytes;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(bytes.x), "=r"(bytes.y), "=r"(bytes.z), "=r"(bytes.w)
               : "l"(at));
  return bytes;
}

/// Asks for the line of an address to come to the card's shared cache.
__device__ inline void prefetch(const void* at) {
  asm volatile("prefetch.global.L2 [%0];" : : "l"(at));
}

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

}  // namespace shoehorn::cuda
