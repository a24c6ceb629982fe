// 8-bit floats, one at a time, by their bits. Kernels convert vectors; this is the meaning.
#pragma once

#include <cstdint>

#include "tensor/half.h"

namespace shoehorn {

/// E4M3 (OCP 8-bit floating point, torch.float8_e4m3fn): bias 7, no infinities, one NaN a sign. Put
/// into the fields of a binary16 it is 2^-8 of its value, subnormals included.
constexpr float f8_e4m3_to_f32(std::uint8_t bits) {
  const std::uint32_t sign = (bits & 0x80U) << 8;
  const std::uint32_t magnitude = bits & 0x7FU;
  if (magnitude == 0x7F) return f16_to_f32(static_cast<std::uint16_t>(sign | 0x7E00));
  return f16_to_f32(static_cast<std::uint16_t>(sign | (magnitude << 7))) * 256.0F;
}

/// E5M2 (torch.float8_e5m2) is the upper half of a binary16.
constexpr float f8_e5m2_to_f32(std::uint8_t bits) {
  return f16_to_f32(static_cast<std::uint16_t>(bits << 8));
}

}  // namespace shoehorn
