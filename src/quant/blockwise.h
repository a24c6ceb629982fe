// Eight bits a value with one scale a block (arXiv:2110.02861): bitsandbytes' quantize_blockwise,
// which double quantization applies to absmax and the 8-bit optimizers to their states.
#pragma once

#include <cstdint>
#include <span>

#include "quant/bnb_parity.h"

namespace shoehorn {

/// Quantizes blocks of `blocksize` values, of which the last may be incomplete.
///
///   map     ascending values of the 256 codes: dynamic_map(), unsigned_dynamic_map()
///   x       [n] float32
///   codes   [n]
///   absmax  [ceil(n / blocksize)] max |x| of each block, NaN where a value is NaN (kCpu: of those
///   that are not)
///
/// code = number of midpoints fl((map[i] + map[i + 1]) / 2) strictly below v = fl(x · fl(1 /
/// absmax)): the nearest value. kCpu asks that of the centre of one of 65536 even bins of [-1, 1]
/// that holds v instead, as the tables of bitsandbytes' CPU library do: some 0.1 % of codes differ,
/// and 0 comes back as 2.1e-5 · absmax. Blocks of zeros have code 0 and absmax 0. NaN takes code 0.
///
/// Throws ArgumentError for lengths that do not fit.
void quantize_blockwise(std::span<const float, 256> map, std::int64_t blocksize, BnbParity parity,
                        std::span<const float> x, std::span<std::uint8_t> codes,
                        std::span<float> absmax);

/// out[i] = fl(map[codes[i]] · absmax[i / blocksize]), [codes.size()]. Throws ArgumentError for
/// lengths that do not fit.
void dequantize_blockwise(std::span<const float, 256> map, std::int64_t blocksize,
                          std::span<const std::uint8_t> codes, std::span<const float> absmax,
                          float* out);

}  // namespace shoehorn
