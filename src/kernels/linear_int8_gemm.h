// The part of linear_int8() that many rows of x take. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/linear_int8_paths.h"

namespace shoehorn {

/// Of at most kMostLinearTasks weights of one K in 1 .. kMostInt8Depth; sizes are checked. A NaN
/// for threshold: nothing is an outlier.
void linear_int8_gemm(std::span<const LinearTask> tasks, std::span<const float> x,
                      std::int64_t rows, float threshold, const Int8RowPath& row_path,
                      const Int8GemmPath& path, ExecContext& ctx);

std::size_t linear_int8_gemm_workspace_bytes(std::int64_t rows, std::int64_t k, int threads);

}  // namespace shoehorn
