// The rows of decode_row and encode_row by instruction set. A set that has nothing of its own for a
// dtype answers nullptr, and the next simpler one is asked.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/exec_context.h"
#include "tensor/dtype.h"

namespace shoehorn {

using DecodePath = void (*)(const std::byte* bytes, std::int64_t elements, float* out);
using EncodePath = void (*)(const float* values, std::int64_t elements, std::byte* bytes);

namespace ref {
DecodePath decode_path(DType dtype);
EncodePath encode_path(DType dtype);
}  // namespace ref
namespace avx2 {
DecodePath decode_path(DType dtype);
EncodePath encode_path(DType dtype);
}  // namespace avx2
namespace avx512 {
DecodePath decode_path(DType dtype);
EncodePath encode_path(DType dtype);
}  // namespace avx512

/// The best of them for a dtype and a set; nullptr where the dtype is no number.
DecodePath decode_path_for(DType dtype, Isa isa);

}  // namespace shoehorn
