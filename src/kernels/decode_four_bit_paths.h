// decode_columns() of four-bit weights, by instruction set. Internal to decode_weight.cc; the plain
// truth is dequantize_four_bit() of quant/four_bit.h.
#pragma once

#include <cstdint>

#include "kernels/exec_context.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// out[i] = fl(quant_map[code[first + i]] · absmax[(first + i) / blocksize]) over the flat weight.
using DecodeFourBitPath = void (*)(const FourBitParts& parts, std::int64_t first,
                                   std::int64_t count, float* out);

namespace avx2 {
void decode_four_bit(const FourBitParts& parts, std::int64_t first, std::int64_t count, float* out);
}  // namespace avx2
namespace avx512 {
void decode_four_bit(const FourBitParts& parts, std::int64_t first, std::int64_t count, float* out);
}  // namespace avx512

DecodeFourBitPath decode_four_bit_path(Isa isa);

}  // namespace shoehorn
