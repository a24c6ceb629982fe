#include "cuda/check.h"

#include <cuda_runtime_api.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn::cuda {

void check(int error, std::string_view call, int ordinal, std::size_t bytes) {
  if (error == cudaSuccess) return;
  const auto code = static_cast<cudaError_t>(error);
  throw DeviceError(str_cat("CUDA card ", ordinal, ": ", call,
                            bytes > 0 ? str_cat(" of ", bytes, " bytes") : std::string(),
                            " failed: ", cudaGetErrorString(code), " (", cudaGetErrorName(code),
                            ")"));
}

}  // namespace shoehorn::cuda
