// Double quantization (QLoRA, arXiv:2305.14314, section 3): the absmax of a four-bit weight, less
// their mean, in eight bits with a scale for every 256 (bitsandbytes' compress_statistics).
#pragma once

#include <cstdint>
#include <span>

#include "quant/bnb_parity.h"

namespace shoehorn {

/// nested_offset = mean(absmax); codes and nested_absmax = quantize_blockwise(dynamic_map(), 256,
/// absmax - nested_offset)
///
///   absmax         [B] float32
///   codes          [B]
///   nested_absmax  [ceil(B / 256)] float32
///
/// kCpu sums in the order of torch's sum on one thread (with 32768 blocks and more torch splits the
/// sum among its threads, and its result depends on their number) and takes the codes of
/// quantize_blockwise for kCpu. Otherwise the mean is that of double precision, at most 2 ulp away,
/// and codes are the nearest. Throws ArgumentError for lengths that do not fit.
void nest_absmax(std::span<const float> absmax, BnbParity parity, std::span<std::uint8_t> codes,
                 std::span<float> nested_absmax, float& nested_offset);

/// absmax[i] = fl(fl(map[codes[i]] · nested_absmax[i / 256]) + nested_offset). Throws ArgumentError
/// for lengths that do not fit.
void unnest_absmax(std::span<const std::uint8_t> codes, std::span<const float> nested_absmax,
                   std::span<const float, 256> map, float nested_offset, std::span<float> absmax);

/// fl(sum / count) where the sum is that of torch.mean of a contiguous float32 vector on one thread
/// of a CPU (ATen's cascade_sum with eight lanes); 0 for no values.
float torch_mean(std::span<const float> values);

}  // namespace shoehorn
