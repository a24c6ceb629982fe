// NF4 and FP4 (QLoRA, arXiv:2305.14314): blocks of values as four-bit codes and one scale, in the
// bytes that bitsandbytes' quantize_4bit writes and dequantize_4bit reads. Blocks run over the flat
// tensor, across the ends of rows.
#pragma once

#include <cstdint>
#include <span>

#include "quant/bnb_parity.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// Two codes a byte: the earlier value in the high four bits.
constexpr std::uint8_t packed_pair(std::uint8_t earlier, std::uint8_t later) {
  return static_cast<std::uint8_t>((earlier << 4) | later);
}
/// Code i of packed bytes.
constexpr std::uint8_t packed_code(const std::uint8_t* packed, std::int64_t i) {
  return i % 2 == 0 ? packed[i / 2] >> 4 : packed[i / 2] & 0x0F;
}
static_assert(packed_pair(0xF, 0x7) == 0xF7);

/// The least absmax that bitsandbytes' CPU backend divides by; a subnormal float.
inline constexpr float kLeastAbsmax = 1e-38F;

/// Quantizes a whole tensor, a run of its whole blocks, or its last blocks: an incomplete block is
/// the tensor's last one.
///
///   x       [n]                   float32
///   packed  [(n + 1) / 2]         codes; where n is odd, the code of 0 fills the last byte
///   absmax  [ceil(n / blocksize)] float32: max |x| of each block, NaN where a value is NaN
///
///   kCpu, kNone  v = fl(x · fl(1 / max(absmax, 1e-38))), in an incomplete block absmax is at least
///                1e-38 as stored, and v = fl(x / absmax); code = four_bit_decision(type) of v
///   kCuda        v = fl(x · fl(1 / absmax)) with subnormals as zeros; NF4 by the same midpoints,
///   FP4
///                by literals on |v| and the sign of v < 0; blocks of zeros have code 0. Their
///                reciprocal is approximate, so codes within some ulp of a boundary may differ.
///
/// Throws ArgumentError for a type, blocksize or length that does not fit.
void quantize_four_bit(QuantType type, std::int64_t blocksize, BnbParity parity,
                       std::span<const float> x, std::span<std::uint8_t> packed,
                       std::span<float> absmax);

/// out[j] = fl(quant_map[code i] · absmax[i / blocksize]) for i = first + j, j < count: values of
/// the flat tensor. Their AVX-512 CPU kernel finds another absmax where rows are not whole blocks;
/// this is what dequantize_4bit means everywhere else. The values must lie within the weight.
void dequantize_four_bit(const FourBitParts& parts, std::int64_t first, std::int64_t count,
                         float* out);

}  // namespace shoehorn
