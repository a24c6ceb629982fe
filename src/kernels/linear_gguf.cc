#include "kernels/linear_gguf.h"

namespace shoehorn {

DotPath gguf_dot_path(DType /*dtype*/, Isa /*isa*/) {
  return nullptr;
}

}  // namespace shoehorn
