// Tensor-core products of 16 bits on compute capability 8.0 and newer, one warp at a time, and the
// moves that feed them. Included by .cu files only.
//
// mma_16x8x16 computes d[16, 8] += a[16, 16] · b[16, 8]. With g = lane / 4 and t = lane % 4 a lane
// holds (PTX ISA, "Matrix fragments for mma.m16n8k16"):
//   a[0] row g, columns 2t, 2t+1     b[0] rows 2t, 2t+1, column g
//   a[1] row g+8, columns 2t, 2t+1   b[1] rows 2t+8, 2t+9, column g
//   a[2] row g, columns 2t+8, 2t+9   d[0], d[1] row g, columns 2t, 2t+1
//   a[3] row g+8, columns 2t+8, 2t+9 d[2], d[3] row g+8, columns 2t, 2t+1
#pragma once

#include <cstdint>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace shoehorn::cuda {

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

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Four 8x8 matrices; lane 8m + i names the 16 bytes of row i of matrix m. A lane gets columns 2t
/// and 2t+1 of row g of each.
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

__device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most `kPending` of this thread's groups of copies are under way.
template <int kPending>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// 2^x within 2 units in the last place; results below 2^-126 are 0.
__device__ inline float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace shoehorn::cuda
