// From stored bytes to float32 and back: the one way from any floating or GGUF block dtype to the
// numbers that are computed with.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/exec_context.h"
#include "tensor/dtype.h"

namespace shoehorn {

/// out[i] = value i of the packed `bytes`, as float32
///
///   bytes  `elements` values of F32, F16, BF16, F64, F8_E4M3, F8_E5M2 or a GGUF block type, at any
///          address; `elements` is a multiple of the block size
///   out    [elements] float32, not overlapping bytes
///
/// Exact for every plain type but F64, which is rounded to nearest even. Blocks as
/// quant/decode_row_ref.h says: bit for bit what PyPI's `gguf` gives. Every instruction set gives
/// the same bits (a NaN stays a NaN; its payload may differ). Thread-safe. Throws UnsupportedError
/// for a dtype that is no number of this kind, ArgumentError for an incomplete block.
void decode_row(DType dtype, const std::byte* bytes, std::int64_t elements, float* out, Isa isa);

/// bytes[i] = values[i] in `dtype`: F32, F16 or BF16, rounded to nearest, ties to even; too large
/// for F16 becomes infinity, NaN stays NaN, as in torch. The same bits on every instruction set.
/// `bytes` may have any alignment and must not overlap `values`. Throws UnsupportedError for other
/// types.
void encode_row(DType dtype, const float* values, std::int64_t elements, std::byte* bytes,
                Isa isa = Isa::kRef);

}  // namespace shoehorn
