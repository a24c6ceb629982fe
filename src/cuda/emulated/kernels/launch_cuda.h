// Launches on an emulated card, in place of src/kernels/launch_cuda.h: the same functions.
#pragma once

#include <cstddef>
#include <string_view>
#include <tuple>
#include <utility>

#include "cuda/check.h"
#include "cuda/emulated/block.h"
#include "cuda/emulated/stream.h"
#include "cuda/queue.h"

#define SHOEHORN_DYNAMIC_SHARED(T, name) \
  T* const name = reinterpret_cast<T*>(::shoehorn::cuda::emulated::running.shared)

namespace shoehorn::cuda {

inline void follow() {}
inline void let_next_begin() {}

template <typename... Params>
void allow_shared(const Queue& queue, void (*kernel)(Params...), std::size_t bytes) {
  check(emulated::allow_shared(reinterpret_cast<const void*>(kernel), bytes),
        "cudaFuncSetAttribute", queue.ordinal(), bytes);
}

template <typename... Params, typename... Args>
void launch_in_turn(const Queue& queue, std::string_view name, void (*kernel)(Params...), dim3 grid,
                    dim3 block, std::size_t shared_bytes, Args&&... args) {
  const emulated::Launch launch{name, grid, block, shared_bytes};
  check(emulated::check_launch(launch, reinterpret_cast<const void*>(kernel)), name,
        queue.ordinal());
  emulated::submit(queue.stream(),
                   [launch, kernel,
                    params = std::tuple<std::remove_cv_t<Params>...>(std::forward<Args>(args)...)] {
                     emulated::run_blocks(launch, [&] { std::apply(kernel, params); });
                   });
}

template <typename... Params, typename... Args>
void launch_following(const Queue& queue, std::string_view name, void (*kernel)(Params...),
                      dim3 grid, dim3 block, std::size_t shared_bytes, Args&&... args) {
  launch_in_turn(queue, name, kernel, grid, block, shared_bytes, std::forward<Args>(args)...);
}

}  // namespace shoehorn::cuda
