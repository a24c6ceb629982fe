// The scales of GGUF blocks as they are stored, copied together from between the quants. Plain
// code, inlined always: files for different instruction sets use it.
#pragma once

#include <cstdint>
#include <cstring>

#include "quant/ggml_blocks.h"

namespace shoehorn::gguf {

/// Blocks whose scales are copied together, of the types of 32 values.
inline constexpr int kSmallChunk = 16;

/// d of each block, binary16.
struct RawScales {
  alignas(32) std::uint16_t d[kSmallChunk];

  template <typename Block>
  [[gnu::always_inline]] void gather(const Block* blocks, int count) {
    for (int i = 0; i < count; ++i) d[i] = blocks[i].d;
  }
};

/// The power of two of each block of MXFP4, as the bits of a float32.
struct RawPowers {
  alignas(64) std::uint32_t bits[kSmallChunk];

  template <typename Block>
  [[gnu::always_inline]] void gather(const Block* blocks, int count) {
    for (int i = 0; i < count; ++i) bits[i] = quant::mxfp4_scale_bits(blocks[i].e);
  }
};

/// d and m of each block, binary16 both, d in the lower half.
struct RawScalesAndMins {
  alignas(64) std::uint32_t dm[kSmallChunk];

  template <typename Block>
  [[gnu::always_inline]] void gather(const Block* blocks, int count) {
    for (int i = 0; i < count; ++i) std::memcpy(&dm[i], blocks + i, sizeof(dm[i]));
  }
};

/// Of Q4_K and Q5_K six bits in a byte each: scales 0..3, minimums 0..3, scales 4..7,
/// minimums 4..7.
struct RawGroupScales {
  alignas(16) std::uint64_t low;
  std::uint64_t high;

  /// quant::k_scale_min() of eight groups at a time.
  [[gnu::always_inline]] void gather(const std::uint8_t* packed) {
    std::uint64_t first;
    std::uint32_t last;
    std::memcpy(&first, packed, sizeof(first));
    std::memcpy(&last, packed + sizeof(first), sizeof(last));
    const std::uint64_t nibbles =
        (last & 0x0F0F0F0F) | static_cast<std::uint64_t>((last >> 4) & 0x0F0F0F0F) << 32;
    low = first & 0x3F3F3F3F3F3F3F3F;
    high = nibbles | ((first >> 2) & 0x3030303030303030);
  }
};

/// Where the scale and the minimum of group g are in them.
[[gnu::always_inline]] inline int scale_index(int g) {
  return g / 4 * 8 + g % 4;
}
[[gnu::always_inline]] inline int min_index(int g) {
  return scale_index(g) + 4;
}

/// `bytes`, of which a compiler no longer knows that they are parts of a register: eight or sixteen
/// of them are then widened by one load, rather than two shuffles on the port that is short.
template <std::size_t kBytes>
[[gnu::always_inline]] inline void keep_in_memory(std::uint8_t (&bytes)[kBytes]) {
  asm("" : "+m"(bytes));
}

}  // namespace shoehorn::gguf
