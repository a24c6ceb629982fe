// linear() for LLM.int8() weights (arXiv:2208.07339; bitsandbytes' Linear8bitLt in eval mode): rows
// of x are quantized on the fly, all but their outliers, which are multiplied as floats. Internal:
// linear.cc calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "kernels/linear.h"

namespace shoehorn {

/// All weights are QuantType::kInt8 of one K; sizes are checked.
void linear_int8(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx);

std::size_t linear_int8_workspace_bytes(std::int64_t rows, std::int64_t k, int threads);

}  // namespace shoehorn
