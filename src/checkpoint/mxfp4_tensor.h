// Weights in MXFP4 as gpt-oss stores them: `X_blocks` uint8 [.., N, K / 32, 16], two values a byte,
// and `X_scales` uint8 [.., N, K / 32], the power of two of each 32 of them.
#pragma once

#include <vector>

#include "checkpoint/quantized_tensor.h"

namespace shoehorn {

/// All of them, of the shape [.., N, K] that they are multiplied in (transformers' parameter has
/// the last two the other way round). Throws FormatError naming the tensor that has no scales, or
/// whose shape or type is another.
std::vector<QuantizedTensor> find_mxfp4_tensors(const Checkpoint& checkpoint);

}  // namespace shoehorn
