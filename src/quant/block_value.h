// One value of a block of GGUF, for machines where every thread works on a value of its own; the
// same operations in the same order as decode_row_ref, so the same bits. Constant expressions, so
// that code for CUDA devices may call them.
#pragma once

#include <bit>
#include <cstdint>

#include "quant/ggml_blocks.h"
#include "tensor/half.h"

namespace shoehorn::quant {

/// Value j of 32 four-bit codes: byte j mod 16, low four bits first.
constexpr int small_code(const std::uint8_t* qs, int j) {
  return j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
}
/// The same with bit j of `qh` as fifth bit.
constexpr int small_code(const std::uint8_t* qs, std::uint32_t qh, int j) {
  return small_code(qs, j) | static_cast<int>((qh >> j) & 1) << 4;
}

/// Entry q of a table of sixteen; the table becomes a constant of the code that reads it.
constexpr int iq4_value(int q) {
  constexpr auto kValues = kIQ4Values;
  return kValues[static_cast<unsigned>(q)];
}
constexpr int fp4_doubled(int q) {
  constexpr auto kValues = kFP4Doubled;
  return kValues[static_cast<unsigned>(q)];
}

/// block_value(block, i) = out[i] of decode_block(block, out), 0 <= i < its block size.
constexpr float block_value(const BlockQ4_0& block, int i) {
  return f16_to_f32(block.d) * static_cast<float>(small_code(block.qs, i) - 8);
}

constexpr float block_value(const BlockQ4_1& block, int i) {
  const float scaled = f16_to_f32(block.d) * static_cast<float>(small_code(block.qs, i));
  return scaled + f16_to_f32(block.m);
}

constexpr float block_value(const BlockQ5_0& block, int i) {
  return f16_to_f32(block.d) * static_cast<float>(small_code(block.qs, block.qh, i) - 16);
}

constexpr float block_value(const BlockQ5_1& block, int i) {
  const float scaled = f16_to_f32(block.d) * static_cast<float>(small_code(block.qs, block.qh, i));
  return scaled + f16_to_f32(block.m);
}

constexpr float block_value(const BlockQ8_0& block, int i) {
  return static_cast<float>(block.qs[i]) * f16_to_f32(block.d);
}

// Below: h half of the block (128 values), s quarter of the half (32 values), l value of the
// quarter.

constexpr float block_value(const BlockQ2_K& block, int i) {
  const int h = i / 128;
  const int s = i / 32 % 4;
  const int l = i % 32;
  const int scales = block.scales[i / 16];
  const float scale = f16_to_f32(block.d) * static_cast<float>(scales & 15);
  const float minimum = f16_to_f32(block.dmin) * static_cast<float>(scales >> 4);
  const float scaled = scale * static_cast<float>((block.qs[32 * h + l] >> (2 * s)) & 3);
  return scaled - minimum;
}

constexpr float block_value(const BlockQ3_K& block, int i) {
  const int h = i / 128;
  const int s = i / 32 % 4;
  const int l = i % 32;
  const float scale =
      f16_to_f32(block.d) * static_cast<float>(q3_k_scale(block.scales, i / 16) - 32);
  const int low = (block.qs[32 * h + l] >> (2 * s)) & 3;
  const bool keeps = ((block.hmask[l] >> (4 * h + s)) & 1) != 0;
  return scale * static_cast<float>(keeps ? low : low - 4);
}

constexpr float block_value(const BlockQ4_K& block, int i) {
  const int group = i / 32;
  const ScaleMin packed = k_scale_min(block.scales, group);
  const float scale = f16_to_f32(block.d) * static_cast<float>(packed.scale);
  const float minimum = f16_to_f32(block.dmin) * static_cast<float>(packed.min);
  const int q = (block.qs[32 * (group / 2) + i % 32] >> (4 * (group % 2))) & 15;
  const float scaled = scale * static_cast<float>(q);
  return scaled - minimum;
}

constexpr float block_value(const BlockQ5_K& block, int i) {
  const int group = i / 32;
  const ScaleMin packed = k_scale_min(block.scales, group);
  const float scale = f16_to_f32(block.d) * static_cast<float>(packed.scale);
  const float minimum = f16_to_f32(block.dmin) * static_cast<float>(packed.min);
  const int low = (block.qs[32 * (group / 2) + i % 32] >> (4 * (group % 2))) & 15;
  const int high = (block.qh[i % 32] >> group) & 1;
  const float scaled = scale * static_cast<float>(low | (high << 4));
  return scaled - minimum;
}

constexpr float block_value(const BlockQ6_K& block, int i) {
  const int h = i / 128;
  const int s = i / 32 % 4;
  const int l = i % 32;
  const float scale = f16_to_f32(block.d) * static_cast<float>(block.scales[i / 16]);
  const int low = (block.ql[64 * h + 32 * (s % 2) + l] >> (s < 2 ? 0 : 4)) & 15;
  const int high = (block.qh[32 * h + l] >> (2 * s)) & 3;
  return scale * static_cast<float>((low | (high << 4)) - 32);
}

constexpr float block_value(const BlockIQ4_NL& block, int i) {
  return f16_to_f32(block.d) * static_cast<float>(iq4_value(small_code(block.qs, i)));
}

constexpr float block_value(const BlockIQ4_XS& block, int i) {
  const int group = i / 32;
  const int packed = iq4_xs_scale(block.scales_l, block.scales_h, group);
  const float scale = f16_to_f32(block.d) * static_cast<float>(packed - 32);
  return scale * static_cast<float>(iq4_value(small_code(block.qs + 16 * group, i % 32)));
}

constexpr float block_value(const BlockMXFP4& block, int i) {
  const auto d = std::bit_cast<float>(mxfp4_scale_bits(block.e));
  return d * static_cast<float>(fp4_doubled(small_code(block.qs, i)));
}

}  // namespace shoehorn::quant
