// Parts of quantize_weight by instruction set. Whole blocks and rows only: the front door hands
// what is left over to the reference.
#pragma once

#include <cstdint>

#include "quant/code_books.h"

namespace shoehorn {

/// One row of LLM.int8(); returns its scb, any NaN for NaN.
using QuantizeInt8Row = float (*)(const float* x, std::int64_t k, std::int8_t* cb);
/// `blocks` whole blocks of four bits.
using QuantizeFourBitBlocks = void (*)(const FourBitDecision& decision, std::int64_t blocksize,
                                       const float* x, std::int64_t blocks, std::uint8_t* packed,
                                       float* absmax);

}  // namespace shoehorn
