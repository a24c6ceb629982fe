// Numbers that some architectures multiply activations and logits by, and the soft cap of logits.
#pragma once

#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// x[i] = factor · x[i], float32.
void scale(std::span<float> x, float factor, ExecContext& ctx);

/// x[i] += factor · y[i]. Throws ArgumentError if lengths differ.
void add_scaled(std::span<float> x, std::span<const float> y, float factor, ExecContext& ctx);

/// x[i] = cap · tanh(x[i] / cap), within 1e-6 · cap.
void soft_cap(std::span<float> x, float cap, ExecContext& ctx);

}  // namespace shoehorn
