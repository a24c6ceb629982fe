// MXFP4 as safetensors files hold it (gpt-oss; transformers' integrations/mxfp4.py): blocks of 32
// values, the nibbles of each in one tensor, its power of two in another. In memory a block is
// GGUF's, whose kernels then multiply it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/ggml_blocks.h"

namespace shoehorn::quant {

/// Bytes of a block of 32 values in `*_blocks`: byte j holds value 2j low and value 2j + 1 high.
inline constexpr std::size_t kMxfp4NibbleBytes = 16;

/// out[b] is block b: value i = 2^(scales[b] - 127) · e2m1(nibble i). Bit for bit the same values.
///
///   nibbles [blocks, 16]   as stored
///   scales  [blocks]       E8M0
///   out     [blocks]
void pack_mxfp4(std::span<const std::uint8_t> nibbles, std::span<const std::uint8_t> scales,
                std::span<BlockMXFP4> out);

}  // namespace shoehorn::quant
