// The truth of 8-bit rows.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kv_rows_paths.h"

namespace shoehorn::ref {
namespace {

float absmax(const float* x, std::int64_t width, bool* finite) {
  float most = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const float size = std::abs(x[i]);
    if (!(size <= std::numeric_limits<float>::max())) *finite = false;
    most = std::max(most, size);
  }
  return most;
}

void encode(const float* x, std::int64_t width, float inverse, std::byte* codes) {
  for (std::int64_t i = 0; i < width; ++i) {
    codes[i] = static_cast<std::byte>(static_cast<int>(std::nearbyint(x[i] * inverse)));
  }
}

void decode(const std::byte* codes, std::int64_t width, float scale, float* out) {
  for (std::int64_t i = 0; i < width; ++i) {
    out[i] = static_cast<float>(static_cast<std::int8_t>(codes[i])) * scale;
  }
}

}  // namespace

const KvRowPath kKvRows = {.absmax = absmax, .encode = encode, .decode = decode};

}  // namespace shoehorn::ref
