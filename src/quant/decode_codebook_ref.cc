// IQ4_NL, IQ4_XS, MXFP4: four bits index a table of sixteen values.
#include <bit>

#include "quant/decode_families_ref.h"
#include "tensor/half.h"

namespace shoehorn::quant {

void decode_block(const BlockIQ4_NL& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kIQ4Values[block.qs[j] & 15]);
    out[j + 16] = d * static_cast<float>(kIQ4Values[block.qs[j] >> 4]);
  }
}

void decode_block(const BlockIQ4_XS& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int group = 0; group < 8; ++group) {
    const float scale =
        d * static_cast<float>(iq4_xs_scale(block.scales_l, block.scales_h, group) - 32);
    for (int j = 0; j < 16; ++j) {
      const int byte = block.qs[16 * group + j];
      out[32 * group + j] = scale * static_cast<float>(kIQ4Values[byte & 15]);
      out[32 * group + j + 16] = scale * static_cast<float>(kIQ4Values[byte >> 4]);
    }
  }
}

void decode_block(const BlockMXFP4& block, float* out) {
  const auto d = std::bit_cast<float>(mxfp4_scale_bits(block.e));
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kFP4Doubled[block.qs[j] & 15]);
    out[j + 16] = d * static_cast<float>(kFP4Doubled[block.qs[j] >> 4]);
  }
}

}  // namespace shoehorn::quant
