// The residual connection.
#pragma once

#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// x[i] += y[i], float32. Throws ArgumentError if lengths differ.
void add(std::span<float> x, std::span<const float> y, ExecContext& ctx);

}  // namespace shoehorn
