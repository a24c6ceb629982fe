// Rows on their way to the experts of a mixture and back. All spans lie in the memory of the
// context's device; float32.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// out[i, :] = x[rows[i], :]
///
///   x [.., width], rows [count], out [count, width]
///
/// Rows are in range. Throws ArgumentError if sizes disagree, as all here do.
void gather_rows(std::span<const float> x, std::span<const std::int32_t> rows, std::span<float> out,
                 ExecContext& ctx);

/// sum[rows[i], :] += weights[i] · y[i, :], where no row is named twice.
///
///   y [count, width], rows and weights [count], sum [.., width]
void add_weighted_rows(std::span<const float> y, std::span<const std::int32_t> rows,
                       std::span<const float> weights, std::span<float> sum, ExecContext& ctx);

/// sum[:] += weights[i] · y[i, :] for i = 0, 1, .. one after the other.
///
///   y [count, width], weights [count], sum [width]
void add_weighted(std::span<const float> y, std::span<const float> weights, std::span<float> sum,
                  ExecContext& ctx);

/// The halves of gpt-oss's gate, such that silu(gate[i]) · up[i] = (u + 1) · g · sigmoid(alpha · g)
/// with g = min(both[2i], limit) and u = both[2i + 1] kept within ±limit:
///   gate[i] = alpha · g
///   up[i]   = (u + 1) / alpha
void clamp_glu(std::span<const float> both, float limit, float alpha, std::span<float> gate,
               std::span<float> up, ExecContext& ctx);

}  // namespace shoehorn
