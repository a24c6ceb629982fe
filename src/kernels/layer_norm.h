// Layer norm (arXiv:1607.06450): torch.nn.LayerNorm and Cohere's kin of it.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// y[m, i] = weight[w, i] · (x[m, i] - mean) / sqrt(mean_j((x[m, j] - mean)²) + eps) + bias[w, i],
/// where row m of x takes row w = m mod W of the weights.
///
///   x, y          [rows, width]  float32; y may be x
///   weight, bias  [W, width]     float32; each may be empty. W is 1 but where every head of a row
///                                has weights of its own
///
/// Sums are float32 in an order that depends on `width` alone, on a CUDA device on alignment too.
/// Throws ArgumentError if sizes disagree.
void layer_norm(std::span<const float> x, std::span<const float> weight,
                std::span<const float> bias, float eps, std::int64_t rows, std::int64_t width,
                std::span<float> y, ExecContext& ctx);

}  // namespace shoehorn
