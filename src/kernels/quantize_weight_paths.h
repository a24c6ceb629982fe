// Parts of quantize_weight by instruction set: whole rows and whole blocks. The front door hands
// what is left over to the reference.
#pragma once

#include <cstdint>

#include "quant/code_books.h"

namespace shoehorn {

/// LLM.int8() of one row of k values; returns its scb, of which a NaN may have any payload.
using QuantizeInt8Row = float (*)(const float* x, std::int64_t k, std::int8_t* cb);

/// Four bits of `groups` groups of whole blocks, as quantize_four_bit treats complete blocks for
/// kCpu. A group is one block, or for blocks of fewer than kFourBitGroup values that many values.
using QuantizeFourBitGroups = void (*)(const FourBitDecision& decision, std::int64_t blocksize,
                                       const float* x, std::int64_t groups, std::uint8_t* packed,
                                       float* absmax);

/// Values that become codes together.
inline constexpr std::int64_t kFourBitGroup = 64;

namespace avx2 {
float quantize_int8_row(const float* x, std::int64_t k, std::int8_t* cb);
void quantize_four_bit_groups(const FourBitDecision& decision, std::int64_t blocksize,
                              const float* x, std::int64_t groups, std::uint8_t* packed,
                              float* absmax);
}  // namespace avx2
namespace avx512 {
float quantize_int8_row(const float* x, std::int64_t k, std::int8_t* cb);
void quantize_four_bit_groups(const FourBitDecision& decision, std::int64_t blocksize,
                              const float* x, std::int64_t groups, std::uint8_t* packed,
                              float* absmax);
}  // namespace avx512

}  // namespace shoehorn
