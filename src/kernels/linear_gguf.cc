#include "kernels/linear_gguf.h"

#include "kernels/linear_gguf_paths.h"

namespace shoehorn {

DotPath gguf_dot_path(DType dtype, Isa isa) {
  if (isa >= Isa::kAvx512) return avx512::gguf_dot_path(dtype);
  if (isa >= Isa::kAvx2) return avx2::gguf_dot_path(dtype);
  return nullptr;
}

}  // namespace shoehorn
