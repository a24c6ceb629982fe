// The gates of gated mlps: activation(gate) · up.
#pragma once

#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// out[i] = silu(gate[i]) · up[i] with silu(z) = z / (1 + exp(-z))
///
/// Spans of one length, float32; out may be gate or up. Within 4 units in the last place of the
/// exact value wherever that is a normal number. Throws ArgumentError if lengths differ.
void silu_mul(std::span<const float> gate, std::span<const float> up, std::span<float> out,
              ExecContext& ctx);

}  // namespace shoehorn
