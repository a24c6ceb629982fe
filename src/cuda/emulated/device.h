// What CUDA C++ gives a kernel, for the processor. Included ahead of every .cu file that a C++
// compiler compiles for an emulated card.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include <cuda_runtime.h>
// After it: these use its words.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/emulated/block.h"

#undef __shared__
#define __shared__ static thread_local
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__

#define threadIdx (::shoehorn::cuda::emulated::running.thread->index)
#define blockIdx (::shoehorn::cuda::emulated::running.block)
#define blockDim (::shoehorn::cuda::emulated::running.launch->block)
#define gridDim (::shoehorn::cuda::emulated::running.launch->grid)

using std::isfinite;
using std::isnan;

template <typename A, typename B>
constexpr auto max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
template <typename A, typename B>
constexpr auto min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}

inline void __syncthreads() {
  ::shoehorn::cuda::emulated::wait_for_block(false);
}
inline int __syncthreads_or(int value) {
  return ::shoehorn::cuda::emulated::wait_for_block(value != 0) ? 1 : 0;
}

template <typename T>
T __shfl_sync(unsigned /*mask*/, T value, int lane) {
  return ::shoehorn::cuda::emulated::from_lane(value, static_cast<unsigned>(lane));
}
template <typename T>
T __shfl_xor_sync(unsigned /*mask*/, T value, int bits) {
  const unsigned lane = ::shoehorn::cuda::emulated::running.thread->lane;
  return ::shoehorn::cuda::emulated::from_lane(value, lane ^ static_cast<unsigned>(bits));
}
template <typename T>
T __shfl_up_sync(unsigned /*mask*/, T value, unsigned distance) {
  const unsigned lane = ::shoehorn::cuda::emulated::running.thread->lane;
  return ::shoehorn::cuda::emulated::from_lane(value, lane < distance ? lane : lane - distance);
}

// f(what a and b brought), over all lanes that have not ended.
template <typename T, typename F>
T shoehorn_reduce_lanes(T value, const F& f) {
  namespace emulated = ::shoehorn::cuda::emulated;
  emulated::begin_step().words[0] = static_cast<std::uint32_t>(value);
  const emulated::Step& step = emulated::finish_step();
  for (unsigned lane = 0; lane < emulated::kLanes; ++lane) {
    if (lane != emulated::running.thread->lane && (step.lanes >> lane & 1U) != 0) {
      value = f(value, static_cast<T>(step.by_lane[lane].words[0]));
    }
  }
  return value;
}
template <typename T>
T __reduce_max_sync(unsigned /*mask*/, T value) {
  return shoehorn_reduce_lanes(value, [](T a, T b) { return std::max(a, b); });
}
template <typename T>
T __reduce_add_sync(unsigned /*mask*/, T value) {
  return shoehorn_reduce_lanes(value, [](T a, T b) { return static_cast<T>(a + b); });
}
inline int __all_sync(unsigned /*mask*/, int value) {
  return shoehorn_reduce_lanes(value != 0 ? 1 : 0, [](int a, int b) { return a & b; });
}

template <typename T>
T __ldg(const T* at) {
  return *at;
}
// Threads of a block take turns, and no kernel adds to what another block adds to.
template <typename T>
T atomicAdd(T* at, T value) {
  const T old = *at;
  *at = static_cast<T>(old + value);
  return old;
}

inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}
inline float __fdiv_rn(float a, float b) {
  return a / b;
}
inline float __frcp_rn(float a) {
  return 1.0F / a;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fmaf(a, b, c);
}
inline int __float2int_rn(float value) {
  // NaN is 0 and what is too large the nearest int, as on cards.
  if (std::isnan(value)) return 0;
  const float rounded = std::nearbyintf(value);
  if (rounded >= 2147483648.0F) return 2147483647;
  if (rounded < -2147483648.0F) return -2147483647 - 1;
  return static_cast<int>(rounded);
}
inline int __popc(unsigned bits) {
  return std::popcount(bits);
}
inline int __ffs(int bits) {
  return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1;
}

// Byte i of the result: byte (selector >> 4i & 7) of b:a, or eight copies of its top bit where bit
// 3 of that nibble is set.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const std::uint64_t both = std::uint64_t{b} << 32 | a;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned nibble = selector >> (4 * i) & 15U;
    auto byte = static_cast<unsigned>(both >> (8 * (nibble & 7U)) & 0xFFU);
    if ((nibble & 8U) != 0) byte = (byte & 0x80U) != 0 ? 0xFFU : 0U;
    result |= byte << (8 * i);
  }
  return result;
}

// c + the sum of products of four bytes, of either sign in both.
template <typename A, typename B>
auto __dp4a(A a, B b, std::common_type_t<A, B> c) {
  using Byte = std::conditional_t<std::is_signed_v<A>, std::int8_t, std::uint8_t>;
  using T = std::common_type_t<A, B>;
  for (int i = 0; i < 4; ++i) {
    const auto x = static_cast<Byte>(static_cast<unsigned>(a) >> (8 * i));
    const auto y = static_cast<Byte>(static_cast<unsigned>(b) >> (8 * i));
    c += static_cast<T>(int{x} * int{y});
  }
  return c;
}
