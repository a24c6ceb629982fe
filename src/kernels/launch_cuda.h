// How kernels are launched, and what they know of their launch. The many small kernels of a decode
// pass may each begin while the one before it ends (programmatic dependent launch, Hopper and
// newer), so that its blocks are there and its weights on their way when its input is ready.
// Included by .cu files only; src/cuda/emulated has another of this name.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include <cuda_runtime.h>

#include "cuda/check.h"
#include "cuda/queue.h"

/// In a kernel: `name`, an array of T in the shared memory that its launch asked for, at a multiple
/// of 128 bytes. One name has one type in a file.
#define SHOEHORN_DYNAMIC_SHARED(T, name) extern __shared__ __align__(128) T name[]

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

/// Before a launch with more than 48 KiB of shared memory. The queue's card is current.
template <typename... Params>
void allow_shared(const Queue& queue, void (*kernel)(Params...), std::size_t bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "cudaFuncSetAttribute", queue.ordinal(), bytes);
}

/// kernel<<<grid, block, shared_bytes, queue.stream()>>>(args...), begun when all that was
/// submitted before is done. The queue's card is current. `name` is for messages.
template <typename... Params, typename... Args>
void launch_in_turn(const Queue& queue, std::string_view name, void (*kernel)(Params...), dim3 grid,
                    dim3 block, std::size_t shared_bytes, Args&&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = queue.stream();
  check(cudaLaunchKernelEx(&config, kernel, Params(std::forward<Args>(args))...), name,
        queue.ordinal());
}

/// The same for a kernel whose every thread calls follow().
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
