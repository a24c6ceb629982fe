// Logits and their places as one integer, larger where the logit is larger, and of equal logits
// where the place comes first: what a maximum or a sort on a card compares. Included by .cu files
// only.
#pragma once

#include <cstdint>

namespace shoehorn::cuda {

/// 0 for NaN, which is below every number; -0 counts as 0.
__device__ inline std::uint32_t ordered_bits(float value) {
  if (isnan(value)) return 0;
  const std::uint32_t bits = __float_as_uint(value + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

/// The number that ordered_bits() was given; not for 0.
__device__ inline float value_of_bits(std::uint32_t ordered) {
  return __uint_as_float((ordered & 0x80000000U) != 0 ? ordered & 0x7FFFFFFFU : ~ordered);
}

__device__ inline std::uint64_t ordered_key(float value, std::uint32_t place) {
  const std::uint32_t bits = ordered_bits(value);
  return bits == 0 ? 0 : std::uint64_t{bits} << 32 | (0xFFFFFFFFU - place);
}

/// The place; -1 where the key is of no number.
__device__ inline std::int32_t id_of_key(std::uint64_t key) {
  return key == 0 ? -1 : static_cast<std::int32_t>(0xFFFFFFFFU - static_cast<std::uint32_t>(key));
}

}  // namespace shoehorn::cuda
