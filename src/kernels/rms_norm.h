// Root mean square norm (arXiv:1910.07467), LlamaRMSNorm and its kin.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// y[m, i] = (weight[i] + weight_offset) · x[m, i] / sqrt(mean_j(x[m, j]²) + eps)
///
///   x, y   [rows, D]  float32; y may be x
///   weight [D]        float32; D is its length
///
/// Gemma's weights are stored less 1. Throws ArgumentError if sizes disagree.
void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::int64_t rows,
              std::span<float> y, ExecContext& ctx, float weight_offset = 0.0F);

}  // namespace shoehorn
