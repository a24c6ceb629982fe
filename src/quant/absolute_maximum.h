// The scale of a block of values: its largest magnitude, in which a NaN is not lost (torch's
// abs().max()).
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

namespace shoehorn {

inline constexpr std::uint32_t kInfinityBits = 0x7F800000;

/// max |x[i]|, 0 for no values, NaN if any value is NaN. As integers, the bits of magnitudes are in
/// the order of the magnitudes, with infinity and then the NaNs on top.
inline float absolute_maximum(std::span<const float> x) {
  std::uint32_t most = 0;
  for (const float value : x)
    most = std::max(most, std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFF);
  return std::bit_cast<float>(most);
}

}  // namespace shoehorn
