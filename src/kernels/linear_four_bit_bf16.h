// linear() for four-bit weights computed in bfloat16 with many rows of x, where the processor has
// tiles for it (AMX): x and fl(quant_map · absmax) are rounded to bfloat16, their products summed
// in float32. That is what bitsandbytes computes at this compute dtype, but for its rounding of the
// sums. Internal: linear.cc calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "kernels/linear.h"

namespace shoehorn {

/// True for a four-bit weight with compute dtype bfloat16 on Isa::kAmx.
bool takes_bf16_tiles(const WeightView& weight, Isa isa);

/// All weights satisfy takes_bf16_tiles() and have one K > 0; sizes are checked.
void linear_four_bit_bf16(std::span<const LinearTask> tasks, std::span<const float> x,
                          std::int64_t rows, ExecContext& ctx);

std::size_t linear_four_bit_bf16_workspace_bytes(std::int64_t rows, std::int64_t k, int threads);

}  // namespace shoehorn
