// Rows of a KV cache on a card, a key or a value of a head, laid out as kv_rows.h says. A row of
// std::int8_t is one of I8, with its scale. Included by .cu files only.
#pragma once

#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/lanes_cuda.h"

namespace shoehorn::cuda {

template <typename T>
inline constexpr bool kHasScale = std::is_same_v<T, std::int8_t>;

/// Bytes of a row of `width` values.
template <typename T>
__host__ __device__ constexpr std::int64_t kv_row_bytes(std::int64_t width) {
  constexpr std::int64_t kValueBytes = sizeof(T);
  constexpr std::int64_t kScaleBytes = kHasScale<T> ? sizeof(float) : 0;
  return kScaleBytes + width * kValueBytes;
}

/// A row as float32: decode_kv_rows().
template <typename T>
class KvRow {
 public:
  __device__ explicit KvRow(const std::byte* row) : values_(reinterpret_cast<const T*>(row)) {}
  __device__ float operator[](int i) const { return to_float(values_[i]); }

 private:
  const T* values_;
};

template <>
class KvRow<std::int8_t> {
 public:
  __device__ explicit KvRow(const std::byte* row)
      : codes_(reinterpret_cast<const std::int8_t*>(row) + sizeof(float)) {
    if (reinterpret_cast<std::uintptr_t>(row) % alignof(float) == 0) {
      scale_ = *reinterpret_cast<const float*>(row);
      return;
    }
    std::uint32_t bits = 0;
    for (int i = 3; i >= 0; --i) bits = bits << 8 | static_cast<std::uint32_t>(row[i]);
    scale_ = __uint_as_float(bits);
  }
  __device__ float operator[](int i) const {
    return __fmul_rn(static_cast<float>(codes_[i]), scale_);
  }

 private:
  const std::int8_t* codes_;
  float scale_;
};

/// encode_kv_row() of I8 by the lanes of a warp, all of which call it, for the values value(i),
/// i < width, each of which one lane asks for twice.
template <typename Value>
__device__ void encode_scaled_row(std::byte* row, int width, int lane, const Value& value) {
  float most = 0;
  bool finite = true;
  for (int i = lane; i < width; i += kWarp) {
    const float size = fabsf(value(i));
    finite = finite && size <= FLT_MAX;
    most = fmaxf(most, size);
  }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, distance));
  }
  float scale = __fdiv_rn(most, 127.0F);
  float inverse = 0;
  if (__all_sync(kAllLanes, finite) == 0) {
    scale = __uint_as_float(0x7FC00000U);  // NaN
  } else if (scale >= FLT_MIN) {
    inverse = __frcp_rn(scale);
  } else {
    scale = 0;
  }
  if (lane < 4) {  // a row may begin anywhere
    row[lane] = static_cast<std::byte>(__float_as_uint(scale) >> (8 * lane) & 0xFFU);
  }
  auto* const codes = reinterpret_cast<std::int8_t*>(row) + sizeof(float);
  for (int i = lane; i < width; i += kWarp) {
    codes[i] = inverse == 0
                   ? std::int8_t{0}
                   : static_cast<std::int8_t>(__float2int_rn(__fmul_rn(value(i), inverse)));
  }
}

}  // namespace shoehorn::cuda
