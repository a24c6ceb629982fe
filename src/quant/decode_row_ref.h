// What GGUF's quantized blocks mean, in plain loops: the truth that fast decoders are held against.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace shoehorn::quant {

/// The blocks that decode_row_ref knows: every block type of DType.
///
/// out[i] = value i of the packed `blocks`, as float32, with the operations of ggml_blocks.h each
/// rounded in the order written there: bit for bit what PyPI's `gguf` 0.19 gives for finite results
/// (a NaN stays a NaN, its payload may differ). `elements` is a multiple of the block size,
/// `blocks` may start at any address, `out` must not overlap it. Throws UnsupportedError for other
/// types.
void decode_row_ref(DType dtype, const std::byte* blocks, std::int64_t elements, float* out);

}  // namespace shoehorn::quant
