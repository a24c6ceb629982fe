// Dot products straight from GGUF's blocks, for the few rows of x of a decoding step. Internal:
// linear.cc calls it.
#pragma once

#include "kernels/linear_paths.h"
#include "tensor/dtype.h"

namespace shoehorn {

/// Null for a type, or an instruction set, without one: its rows are decoded to float32 first.
DotPath gguf_dot_path(DType dtype, Isa isa);

}  // namespace shoehorn
