// Launches of the many small kernels of a decode pass: each may begin while the one before it ends
// (programmatic dependent launch, Hopper and newer), so that its blocks are there and its weights
// on their way when its input is ready. Included by .cu files only.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include <cuda_runtime.h>

#include "cuda/check.h"
#include "cuda/queue.h"

namespace shoehorn::cuda {

/// In a kernel of launch_following(), by every thread: from here on all that earlier kernels wrote
/// is there, and may be overwritten. Before, only what no kernel writes may be read: weights, and
/// tables that are copied to the card.
__device__ inline void follow() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

/// In any kernel, first of all: the next one may begin once all blocks have come here.
__device__ inline void let_next_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

/// kernel<<<grid, block, shared_bytes, queue.stream()>>>(args...) for a kernel whose every thread
/// calls follow(). The queue's card is current. `name` is for messages.
template <typename... Params, typename... Args>
void launch_following(const Queue& queue, std::string_view name, void (*kernel)(Params...),
                      dim3 grid, dim3 block, std::size_t shared_bytes, Args&&... args) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = queue.stream();
  config.attrs = &attribute;
  config.numAttrs = queue.card().major >= 9 ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, Params(std::forward<Args>(args))...), name,
        queue.ordinal());
}

}  // namespace shoehorn::cuda
