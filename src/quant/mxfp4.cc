#include "quant/mxfp4.h"

#include <array>
#include <cassert>
#include <cstring>

namespace shoehorn::quant {

void pack_mxfp4(std::span<const std::uint8_t> nibbles, std::span<const std::uint8_t> scales,
                std::span<BlockMXFP4> out) {
  assert(nibbles.size() == out.size() * kMxfp4NibbleBytes && scales.size() == out.size());
  for (std::size_t b = 0; b < out.size(); ++b) {
    // Copies in and out of locals let the compiler shuffle whole blocks in registers.
    std::array<std::uint8_t, kMxfp4NibbleBytes> in;
    std::array<std::uint8_t, kMxfp4NibbleBytes> packed;
    std::memcpy(in.data(), nibbles.data() + b * kMxfp4NibbleBytes, in.size());
    for (std::size_t i = 0; i < 8; ++i) {
      const unsigned first = in[i];       // values 2i and 2i + 1
      const unsigned second = in[i + 8];  // values 16 + 2i and 17 + 2i
      packed[2 * i] = static_cast<std::uint8_t>((first & 15U) | (second & 15U) << 4);
      packed[2 * i + 1] = static_cast<std::uint8_t>(first >> 4 | (second & 0xF0U));
    }
    out[b].e = scales[b];
    std::memcpy(out[b].qs, packed.data(), packed.size());
  }
}

}  // namespace shoehorn::quant
