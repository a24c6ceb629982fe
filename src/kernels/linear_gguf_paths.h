// Dot products straight from GGUF blocks, by instruction set. Internal: linear_gguf.cc picks.
#pragma once

#include "kernels/linear_paths.h"
#include "tensor/dtype.h"

namespace shoehorn {

namespace avx2 {
/// Null for a type without one.
DotPath gguf_dot_path(DType dtype);
}  // namespace avx2

namespace avx512 {
/// Null for a type without one.
DotPath gguf_dot_path(DType dtype);
}  // namespace avx512

}  // namespace shoehorn
