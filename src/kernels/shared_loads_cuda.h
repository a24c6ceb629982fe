// Reads of shared memory by address, for tables whose entries are found by putting bits of a code
// in place: an address that is made by one instruction, which a pointer to an array at an address
// of the compiler's choosing is not. Included by .cu files only.
#pragma once

#include <cstdint>

#include "kernels/mma_cuda.h"

namespace shoehorn::cuda {

/// The first multiple of `alignment`, a power of two, from an address of shared memory on.
__device__ inline std::uint32_t aligned_address(std::uint32_t address, std::uint32_t alignment) {
  return (address + alignment - 1) & ~(alignment - 1);
}

__device__ inline std::uint32_t load_shared_word(std::uint32_t address) {
  std::uint32_t word;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(address));
  return word;
}

__device__ inline float2 load_shared_pair(std::uint32_t address) {
  float2 pair;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(pair.x), "=f"(pair.y) : "r"(address));
  return pair;
}

/// `bytes` = 16 bytes at address + kOffset, a multiple of 16; unchanged where `is_there` is false.
template <int kOffset>
__device__ inline void load_shared_if(bool is_there, std::uint32_t address, uint4& bytes) {
  asm volatile(
      "{ .reg .pred p; setp.ne.u32 p, %5, 0;\n"
      "  @p ld.shared.v4.u32 {%0, %1, %2, %3}, [%4+%6]; }"
      : "+r"(bytes.x), "+r"(bytes.y), "+r"(bytes.z), "+r"(bytes.w)
      : "r"(address), "r"(is_there ? 1U : 0U), "n"(kOffset));
}

__device__ inline void store_shared(std::uint32_t address, const uint4& bytes) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(bytes.x),
               "r"(bytes.y), "r"(bytes.z), "r"(bytes.w)
               : "memory");
}

}  // namespace shoehorn::cuda
