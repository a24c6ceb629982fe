// Q2_K to Q6_K: 256 values in groups of 16 or 32 whose scales are quantized too. The group's scale
// is rounded to float32 before it meets a value.
#include "quant/decode_families_ref.h"
#include "tensor/half.h"

namespace shoehorn::quant {

// In the loops below: h half of the block (128 values), s quarter of the half (32 values), l value
// of the quarter.

void decode_block(const BlockQ2_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int h = i / 128;
    const int s = i / 32 % 4;
    const int l = i % 32;
    const int group = i / 16;
    const float scale = d * static_cast<float>(block.scales[group] & 15);
    const float minimum = dmin * static_cast<float>(block.scales[group] >> 4);
    const int q = (block.qs[32 * h + l] >> (2 * s)) & 3;
    out[i] = scale * static_cast<float>(q) - minimum;
  }
}

void decode_block(const BlockQ3_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int h = i / 128;
    const int s = i / 32 % 4;
    const int l = i % 32;
    const float scale = d * static_cast<float>(q3_k_scale(block.scales, i / 16) - 32);
    const int low = (block.qs[32 * h + l] >> (2 * s)) & 3;
    const bool keeps = ((block.hmask[l] >> (4 * h + s)) & 1) != 0;
    out[i] = scale * static_cast<float>(keeps ? low : low - 4);
  }
}

void decode_block(const BlockQ4_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = k_scale_min(block.scales, group);
    const float scale = d * static_cast<float>(packed.scale);
    const float minimum = dmin * static_cast<float>(packed.min);
    for (int l = 0; l < 32; ++l) {
      const int q = (block.qs[32 * (group / 2) + l] >> (4 * (group % 2))) & 15;
      out[32 * group + l] = scale * static_cast<float>(q) - minimum;
    }
  }
}

void decode_block(const BlockQ5_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = k_scale_min(block.scales, group);
    const float scale = d * static_cast<float>(packed.scale);
    const float minimum = dmin * static_cast<float>(packed.min);
    for (int l = 0; l < 32; ++l) {
      const int low = (block.qs[32 * (group / 2) + l] >> (4 * (group % 2))) & 15;
      const int high = (block.qh[l] >> group) & 1;
      out[32 * group + l] = scale * static_cast<float>(low | (high << 4)) - minimum;
    }
  }
}

void decode_block(const BlockQ6_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int h = i / 128;
    const int s = i / 32 % 4;
    const int l = i % 32;
    const float scale = d * static_cast<float>(block.scales[i / 16]);
    const int low = (block.ql[64 * h + 32 * (s % 2) + l] >> (s < 2 ? 0 : 4)) & 15;
    const int high = (block.qh[32 * h + l] >> (2 * s)) & 3;
    out[i] = scale * static_cast<float>((low | (high << 4)) - 32);
  }
}

}  // namespace shoehorn::quant
