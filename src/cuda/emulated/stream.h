// What the streams of emulated cards do: keep what they are given until somebody waits for it, or
// record it.
#pragma once

#include <cstddef>
#include <functional>

#include <cuda_runtime_api.h>

#include "cuda/emulated/block.h"

namespace shoehorn::cuda::emulated {

void submit(cudaStream_t stream, std::function<void()> work);

/// As cudaFuncSetAttribute() of cudaFuncAttributeMaxDynamicSharedMemorySize.
cudaError_t allow_shared(const void* kernel, std::size_t bytes);

/// What a card refuses: blocks and grids beyond its limits, shared memory that was not allowed.
cudaError_t check_launch(const Launch& launch, const void* kernel);

}  // namespace shoehorn::cuda::emulated
