// linear() for four-bit weights with activations in int8 (ComputeDtype::kInt8): rows of x are
// quantized on the fly, block by block as the weights are, and the code book is rounded to int8.
// Internal: linear.cc calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "kernels/linear.h"

namespace shoehorn {

/// True if a weight asks for int8 activations and its shape and blocks allow it; where they do not,
/// it is multiplied in float32.
bool takes_int8_rows(const WeightView& weight);

/// All weights satisfy takes_int8_rows() and have one K; sizes are checked.
void linear_four_bit_int8(std::span<const LinearTask> tasks, std::span<const float> x,
                          std::int64_t rows, ExecContext& ctx);

std::size_t linear_four_bit_int8_workspace_bytes(std::int64_t rows, std::int64_t k, int threads);

}  // namespace shoehorn
