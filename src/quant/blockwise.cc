#include "quant/blockwise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "quant/absolute_maximum.h"

namespace shoehorn {
namespace {

using Midpoints = std::array<float, 255>;

Midpoints midpoints_of(std::span<const float, 256> map) {
  Midpoints midpoints{};
  for (std::size_t i = 0; i < midpoints.size(); ++i) {
    midpoints[i] = 0.5F * (map[i] + map[i + 1]);
  }
  return midpoints;
}

/// Midpoints strictly below `value`; none are below NaN. Halving without branches: a mispredicted
/// one costs more than all eight steps, and an absmax for every 64 weights adds up while loading.
std::uint8_t nearest_code(const Midpoints& midpoints, float value) {
  std::size_t below = 0;
  for (std::size_t half = 128; half > 0; half /= 2) {
    below += midpoints[below + half - 1] < value ? half : 0;
  }
  return static_cast<std::uint8_t>(below);
}

/// csrc/cpu_ops.cpp: the centre of the bin of [-1, 1] that `value` falls into.
float bin_centre(float value) {
  // A NaN fails the first comparison.
  const float clamped = value >= -1.0F ? std::min(value, 1.0F) : -1.0F;
  const float scaled = ((clamped + 1.0F) * 0.5F) * 65535.0F + 0.5F;
  const auto bin = static_cast<std::uint16_t>(scaled);
  return -1.0F + 2.0F * static_cast<float>(bin) / 65535.0F;
}

/// Their CPU library compares floats, and so passes over NaN.
float block_absmax(std::span<const float> x, BnbParity parity) {
  if (parity != BnbParity::kCpu) return absolute_maximum(x);
  float most = 0.0F;
  for (const float value : x) most = std::fabs(value) > most ? std::fabs(value) : most;
  return most;
}

void check(std::int64_t blocksize, std::size_t values, std::size_t codes, std::size_t absmax) {
  if (blocksize < 1) {
    throw ArgumentError(str_cat("blocksize: expected 1 or more, found ", blocksize));
  }
  const auto block = static_cast<std::size_t>(blocksize);
  const std::size_t blocks = values / block + (values % block != 0 ? 1 : 0);
  if (codes != values || absmax != blocks) {
    throw ArgumentError(str_cat(values, " values in blocks of ", blocksize, " do not make ", codes,
                                " codes with ", absmax, " absmax"));
  }
}

}  // namespace

void quantize_blockwise(std::span<const float, 256> map, std::int64_t blocksize, BnbParity parity,
                        std::span<const float> x, std::span<std::uint8_t> codes,
                        std::span<float> absmax) {
  check(blocksize, x.size(), codes.size(), absmax.size());
  const Midpoints midpoints = midpoints_of(map);
  const auto block = static_cast<std::size_t>(blocksize);
  for (std::size_t b = 0; b < absmax.size(); ++b) {
    const std::size_t first = b * block;
    const std::size_t end = first + std::min(block, x.size() - first);
    absmax[b] = block_absmax(x.subspan(first, end - first), parity);
    if (absmax[b] == 0.0F) {
      std::fill(codes.begin() + static_cast<std::ptrdiff_t>(first),
                codes.begin() + static_cast<std::ptrdiff_t>(end), std::uint8_t{0});
      continue;
    }
    const float reciprocal = 1.0F / absmax[b];
    for (std::size_t i = first; i < end; ++i) {
      const float value = x[i] * reciprocal;
      codes[i] = nearest_code(midpoints, parity == BnbParity::kCpu ? bin_centre(value) : value);
    }
  }
}

void dequantize_blockwise(std::span<const float, 256> map, std::int64_t blocksize,
                          std::span<const std::uint8_t> codes, std::span<const float> absmax,
                          float* out) {
  check(blocksize, codes.size(), codes.size(), absmax.size());
  const auto block = static_cast<std::size_t>(blocksize);
  for (std::size_t i = 0; i < codes.size(); ++i) out[i] = map[codes[i]] * absmax[i / block];
}

}  // namespace shoehorn
