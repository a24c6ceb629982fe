// Instructions of compute capability 8.0 and newer that CUDA C++ has no name for. Included by .cu
// files only; src/cuda/emulated has another of this name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace shoehorn::cuda {

/// d[16, 8] += a[16, 16] · b[16, 8] on tensor cores by one warp; T is __half or __nv_bfloat16, sums
/// are float32. With g = lane / 4 and t = lane % 4 a lane holds (PTX ISA, "Matrix fragments for
/// mma.m16n8k16"):
///   a[0] row g, columns 2t, 2t+1     b0 rows 2t, 2t+1, column g
///   a[1] row g+8, columns 2t, 2t+1   b1 rows 2t+8, 2t+9, column g
///   a[2] row g, columns 2t+8, 2t+9   d[0], d[1] row g, columns 2t, 2t+1
///   a[3] row g+8, columns 2t+8, 2t+9 d[2], d[3] row g+8, columns 2t, 2t+1
template <typename T>
__device__ inline void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                   std::uint32_t b1) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    static_assert(std::is_same_v<T, __half>);
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

/// What the functions below take for an address of shared memory.
__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Four 8x8 matrices of 16 bits; lane 8m + i names the 16 bytes of row i of matrix m. A lane gets
/// columns 2t and 2t+1 of row g of each.
__device__ inline void load_matrices(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// The same, transposed: a lane gets rows 2t and 2t+1 of column g.
__device__ inline void load_matrices_transposed(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// An 8x8 matrix of which each lane holds columns 2t and 2t+1 of row g, transposed in registers.
__device__ inline std::uint32_t transpose_matrix(std::uint32_t pair) {
  std::uint32_t out;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(pair));
  return out;
}

/// Starts a copy of 16 bytes from global to shared memory, or writes 16 zeros and reads nothing.
__device__ inline void copy_16_or_zero(std::uint32_t to, const void* from, bool is_there) {
  const int bytes = is_there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
               : "memory");
}

/// The copies started since the last call are a group.
__device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most `kPending` of this thread's groups of copies are under way.
template <int kPending>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
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

/// 16 bytes at a multiple of 16, which nobody writes while the kernel runs and which are read once:
/// past the nearest cache, which is left to what is read again.
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

/// 2^x within 2 units in the last place; results below 2^-126 are 0.
__device__ inline float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Has an address in registers from here on, where the compiler would make it anew for each use.
template <typename T>
__device__ inline void keep(const T*& address) {
  asm volatile("" : "+l"(address));
}

}  // namespace shoehorn::cuda
