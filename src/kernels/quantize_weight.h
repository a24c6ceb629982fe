// Weights into the forms that bitsandbytes gives them, at the speed of loading: the same bits as
// quant/four_bit.h and quant/int8_rows.h on every instruction set.
#pragma once

#include <cstdint>

#include "kernels/exec_context.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// quantize_int8_rows(x, rows, k, threshold 0): LLM.int8() of a weight [rows, k] in float32.
///
///   cb   [rows, k] codes
///   scb  [rows]    max |x| of each row, after rounding to float16
///
/// False if a scb is NaN or infinite, that is if a value is NaN or does not fit float16; everything
/// is written all the same. x does not overlap the results. Thread-safe.
bool quantize_int8_weight(const float* x, std::int64_t rows, std::int64_t k, std::int8_t* cb,
                          float* scb, Isa isa);

/// quantize_four_bit(type, blocksize, BnbParity::kCpu): NF4 or FP4 of n values in float32, a whole
/// tensor, a run of its whole blocks or its last blocks.
///
///   packed  [(n + 1) / 2]
///   absmax  [ceil(n / blocksize)]
///
/// False if an absmax is NaN or infinite, that is if a value is; everything is written all the
/// same. x does not overlap the results. Thread-safe. Throws ArgumentError for another type or a
/// blocksize that is not allowed.
bool quantize_four_bit_weight(QuantType type, std::int64_t blocksize, const float* x,
                              std::int64_t n, std::uint8_t* packed, float* absmax, Isa isa);

}  // namespace shoehorn
