// How one position's key or value of a head is kept in a cache: as floats, or as 8-bit integers
// with a scale of their own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/exec_context.h"
#include "tensor/dtype.h"

namespace shoehorn {

/// True for what a KV cache may hold: F32, F16, BF16 and I8.
bool is_kv_dtype(DType dtype);

/// Bytes of a row of `width` values. Of I8: the scale, a float32, then the codes.
std::size_t kv_row_bytes(DType dtype, std::int64_t width);

/// Writes a row, rounded to nearest, ties to even. Of I8, symmetric around zero:
///   scale = max |x| / 127, code_i = round(x_i / scale)
/// A row that holds an infinity or a NaN reads as NaN, one whose scale would be no normal number as
/// zero; one that holds values above 1e38 may read as infinities. The same bits on every
/// instruction set. `bytes` may have any alignment and must not overlap `values`. Throws
/// UnsupportedError for other types.
void encode_kv_row(DType dtype, const float* values, std::int64_t width, std::byte* bytes, Isa isa);

/// out [rows, width] = `rows` rows that lie one after the other. Exact for floats; of I8
/// code · scale, rounded once.
void decode_kv_rows(DType dtype, const std::byte* bytes, std::int64_t rows, std::int64_t width,
                    float* out, Isa isa);

}  // namespace shoehorn
