// exp() whose result is the same on every machine: libm's differs between its versions and between
// processors with and without fused multiply-add, and one differing bit may draw another token.
// Written without branches so that the compiler makes vectors of it.
#pragma once

#include <bit>
#include <cstdint>

namespace shoehorn {

/// e^x for x <= 0, within 2 ulp of the true value; 0 below -87 (where float32 leaves its normal
/// range) and for NaN. Relies on the build's -ffp-contract=off.
inline float portable_exp(float x) {
  const bool in_range = x >= -87.0f;
  const float clamped = in_range ? x : -87.0f;
  // x = n ln 2 + r with |r| <= ln(2) / 2. Adding 1.5 * 2^23 rounds to an integer, which then sits
  // in the low bits. ln 2 is split so that n times its upper part is exact (Cody and Waite).
  constexpr float kRound = 12582912.0f;
  const float shifted = clamped * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  // Taylor's series to r^7: the next term is below 2^-27 of the result.
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const std::uint32_t exponent =
      std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound) + 127;
  const float power = std::bit_cast<float>(exponent << 23);
  return in_range ? p * power : 0.0f;
}

}  // namespace shoehorn
