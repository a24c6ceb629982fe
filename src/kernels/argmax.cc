#include "kernels/argmax.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

namespace shoehorn {

std::int32_t argmax(std::span<const float> x) {
  // A lane for every element of some vectors, so that the compiler needs no order among them.
  constexpr std::size_t kLanes = 32;
  std::array<float, kLanes> largest;
  largest.fill(-std::numeric_limits<float>::infinity());
  const std::size_t whole = x.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float value = x[i + lane];
      largest[lane] = value > largest[lane] ? value : largest[lane];
    }
  }
  float best = std::ranges::max(largest);
  for (const float value : x.subspan(whole)) best = value > best ? value : best;
  const auto found = std::ranges::find(x, best);
  return found == x.end() ? -1 : static_cast<std::int32_t>(found - x.begin());
}

}  // namespace shoehorn
