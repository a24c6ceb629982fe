// Weights of 8-bit floats with a scale a tile, as DeepSeek-V3 and transformers' FineGrainedFP8
// store them: `X.weight` float8_e4m3fn [N, K] and `X.weight_scale_inv` [ceil(N / r), ceil(K / c)],
// which each tile of r rows and c columns is multiplied by.
#pragma once

#include <vector>

#include "checkpoint/quantized_tensor.h"

namespace shoehorn {

/// All of them. Tiles are what config.json's quantization_config.weight_block_size says; without
/// it, what the shapes of a weight and its scales say. Throws FormatError naming the tensor whose
/// scales are of another shape or type, UnsupportedError for scales that are no floats.
std::vector<QuantizedTensor> find_f8_tensors(const Checkpoint& checkpoint);

}  // namespace shoehorn
