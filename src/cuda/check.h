// Turns a failed CUDA call into a DeviceError that names the card, the call and the bytes.
#pragma once

#include <cstddef>
#include <string_view>

namespace shoehorn::cuda {

/// `error` is a cudaError_t; 0 passes. `bytes` of an allocation or a copy, 0 for others.
void check(int error, std::string_view call, int ordinal, std::size_t bytes = 0);

}  // namespace shoehorn::cuda
