// exp() and log() whose result is the same on every machine: libm's differs between its versions
// and between processors with and without fused multiply-add, and one differing bit may draw
// another token. Written without branches so that the compiler makes vectors of it.
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

/// The natural logarithm of a normal x > 0, within 4 ulp of the true value.
inline double portable_log(double x) {
  // x = 2^n m with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh((m - 1) / (m + 1)).
  const auto bits = std::bit_cast<std::uint64_t>(x);
  auto n = static_cast<std::int64_t>(bits >> 52U) - 1023;
  double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFULL) | 0x3FF0000000000000ULL);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++n;
  }
  const double s = (m - 1.0) / (m + 1.0);
  const double square = s * s;
  double sum = 0;
  for (int i = 23; i > 1; i -= 2) sum = (sum + 1.0 / i) * square;
  return static_cast<double>(n) * 0.6931471805599453 + 2.0 * s * (1.0 + sum);
}

}  // namespace shoehorn
