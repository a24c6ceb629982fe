// Rotary position embedding (arXiv:2104.09864): the rotation alone. Angles, scaling variants and
// the tables of cosines and sines are the model's business.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// Heads whose first rotary_dim entries turn; the rest pass through.
struct RotaryShape {
  std::int64_t rows = 0;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t rotary_dim = 0;  // even, at most head_dim
};

/// With n = rotary_dim / 2, for every row, head and i < n, in place:
///   x_i     = x_i · cos_i - x_{i+n} · sin_i
///   x_{i+n} = x_{i+n} · cos_i + x_i · sin_i
///
///   x        [rows, heads, head_dim]  float32
///   cos, sin [rows, n]                float32
///
/// What transformers' rotate_half does. Throws ArgumentError if sizes disagree.
void apply_rotary_halves(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                         std::span<const float> sin, ExecContext& ctx);

/// The same with the interleaved pairs (x_{2i}, x_{2i+1}) in place of (x_i, x_{i+n}).
void apply_rotary_pairs(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                        std::span<const float> sin, ExecContext& ctx);

}  // namespace shoehorn
