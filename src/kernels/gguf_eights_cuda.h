// GGUF blocks as a warp multiplies them: of some values of a row a lane takes eight or sixteen, in
// runs of four, and reads the words beside those of its neighbour. Included by .cu files only.
//
// A code becomes a float by one permutation of bytes where it has at most seven bits: as byte 2 of
// 0x40000000 a byte b < 128 is the float 2 + b / 64. Codes are shifted to the top of those bits, so
// that taking the 2 away again costs two bits of a sum, not six.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/lanes_cuda.h"
#include "quant/ggml_blocks.h"

namespace shoehorn::cuda {

/// Value i of run r of word w is scale[r] · number(byte i of codes[w][r]) + offset[r]; number is
/// the signed byte, or where the format says kIsFraction the float 2 + byte / 64.
template <int kWords>
struct GgufRuns {
  std::uint32_t codes[kWords][2];
  float scale[2];
  float offset[2];  // where the format has one
};

/// From the float 2 + (code << kShift) / 64 to value = scale · (code - zero) + offset.
template <int kShift, int kZero, int kWords>
__device__ inline void set_fractions(float scale, float offset, int r, GgufRuns<kWords>& runs) {
  constexpr float kUnit = 64 >> kShift;
  runs.scale[r] = scale * kUnit;
  runs.offset[r] = __fmaf_rn(-scale, 2 * kUnit + kZero, offset);
}

/// Little-endian words at multiples of kAlignment, 1, 2 or 4.
template <int kAlignment>
__device__ inline std::uint32_t load_word(const std::byte* at) {
  if constexpr (kAlignment >= 4) {
    return __ldg(reinterpret_cast<const std::uint32_t*>(at));
  } else if constexpr (kAlignment == 2) {
    const auto* const halves = reinterpret_cast<const std::uint16_t*>(at);
    return std::uint32_t{__ldg(halves)} | std::uint32_t{__ldg(halves + 1)} << 16;
  } else {
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(at);
    return std::uint32_t{__ldg(bytes)} | std::uint32_t{__ldg(bytes + 1)} << 8 |
           std::uint32_t{__ldg(bytes + 2)} << 16 | std::uint32_t{__ldg(bytes + 3)} << 24;
  }
}
__device__ inline std::uint32_t load_half_word(const std::byte* at) {
  return __ldg(reinterpret_cast<const std::uint16_t*>(at));
}
__device__ inline std::uint32_t load_byte(const std::byte* at) {
  return __ldg(reinterpret_cast<const std::uint8_t*>(at));
}

__device__ inline float half_bits_to_float(std::uint32_t bits) {
  __half_raw raw;
  raw.x = static_cast<unsigned short>(bits);
  return __half2float(__half(raw));
}

/// Bit i of the lowest four in the lowest bit of byte i.
__device__ inline std::uint32_t spread_bits(std::uint32_t four) {
  return (four & 15U) * 0x00204081U & 0x01010101U;
}

/// Entry n of a table of sixteen bytes for each byte n < 16 of `codes`; table[i] holds entries 4 i
/// to 4 i + 3.
__device__ inline std::uint32_t look_up_each(std::uint32_t codes, const std::uint32_t (&table)[4]) {
  const std::uint32_t pairs = codes | codes >> 4;
  const std::uint32_t selector = __byte_perm(pairs, 0, 0x4420) & 0x7777U;
  const std::uint32_t is_upper = (codes >> 3 & 0x01010101U) * 255U;
  return (__byte_perm(table[0], table[1], selector) & ~is_upper) |
         (__byte_perm(table[2], table[3], selector) & is_upper);
}

/// Types of 32 values in 16 bytes: byte j holds value j low and value j + 16 high.
struct SmallBlockLanes {
  static constexpr int kValues = quant::kSmallBlock;
  static constexpr int kWords = 1;
  static constexpr int kApart = 16;
  static __device__ int first(int lane) { return 32 * (lane / 4) + 4 * (lane % 4); }
};

/// The lane's block of a step.
template <typename Block>
__device__ const std::byte* small_block(const std::byte* row, int step, int lane) {
  return row + (std::int64_t{step} * 8 + lane / 4) * static_cast<int>(sizeof(Block));
}

/// Of each format: kValues of a block; kWords of a lane's codes, which are neighbours, in a step of
/// kWords · 256 values; kAlignment, which weights must have; the first value of a word's first run
/// and how far behind it the second is; what numbers codes stand for and whether values have an
/// offset; what a lane loads of a step; and what that means.
template <typename Block>
struct GgufEights;

template <>
struct GgufEights<quant::BlockQ4_0> : SmallBlockLanes {
  static constexpr int kAlignment = 2;
  static constexpr bool kIsFraction = true;
  static constexpr bool kHasOffset = true;
  struct Raw {
    std::uint32_t d;
    std::uint32_t qs;
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block = small_block<quant::BlockQ4_0>(row, step, lane);
    return {load_half_word(block), load_word<2>(block + 2 + 4 * (lane % 4))};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int /*lane*/) {
    GgufRuns<1> runs{{{raw.qs << 3 & 0x78787878U, raw.qs >> 1 & 0x78787878U}}, {}, {}};
    for (int r = 0; r < 2; ++r) set_fractions<3, 8>(half_bits_to_float(raw.d), 0, r, runs);
    return runs;
  }
};

template <>
struct GgufEights<quant::BlockQ4_1> : SmallBlockLanes {
  static constexpr int kAlignment = 4;
  static constexpr bool kIsFraction = true;
  static constexpr bool kHasOffset = true;
  struct Raw {
    std::uint32_t d_m;
    std::uint32_t qs;
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block = small_block<quant::BlockQ4_1>(row, step, lane);
    return {load_word<4>(block), load_word<4>(block + 4 + 4 * (lane % 4))};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int /*lane*/) {
    GgufRuns<1> runs{{{raw.qs << 3 & 0x78787878U, raw.qs >> 1 & 0x78787878U}}, {}, {}};
    const float d = half_bits_to_float(raw.d_m);
    const float m = half_bits_to_float(raw.d_m >> 16);
    for (int r = 0; r < 2; ++r) set_fractions<3, 0>(d, m, r, runs);
    return runs;
  }
};

/// Codes of five bits, of which `qh` holds the fifth of each value of the block.
__device__ inline GgufRuns<1> five_bits(std::uint32_t qs, std::uint32_t qh, int lane) {
  const std::uint32_t bits = qh >> (4 * (lane % 4));
  return {{{(qs << 2 & 0x3C3C3C3CU) | spread_bits(bits) << 6,
            (qs >> 2 & 0x3C3C3C3CU) | spread_bits(bits >> 16) << 6}},
          {},
          {}};
}

template <>
struct GgufEights<quant::BlockQ5_0> : SmallBlockLanes {
  static constexpr int kAlignment = 2;
  static constexpr bool kIsFraction = true;
  static constexpr bool kHasOffset = true;
  struct Raw {
    std::uint32_t d;
    std::uint32_t qh;
    std::uint32_t qs;
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block = small_block<quant::BlockQ5_0>(row, step, lane);
    return {load_half_word(block), load_word<2>(block + 2),
            load_word<2>(block + 6 + 4 * (lane % 4))};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int lane) {
    GgufRuns<1> runs = five_bits(raw.qs, raw.qh, lane);
    for (int r = 0; r < 2; ++r) set_fractions<2, 16>(half_bits_to_float(raw.d), 0, r, runs);
    return runs;
  }
};

template <>
struct GgufEights<quant::BlockQ5_1> : SmallBlockLanes {
  static constexpr int kAlignment = 4;
  static constexpr bool kIsFraction = true;
  static constexpr bool kHasOffset = true;
  struct Raw {
    std::uint32_t d_m;
    std::uint32_t qh;
    std::uint32_t qs;
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block = small_block<quant::BlockQ5_1>(row, step, lane);
    return {load_word<4>(block), load_word<4>(block + 4), load_word<4>(block + 8 + 4 * (lane % 4))};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int lane) {
    GgufRuns<1> runs = five_bits(raw.qs, raw.qh, lane);
    const float d = half_bits_to_float(raw.d_m);
    const float m = half_bits_to_float(raw.d_m >> 16);
    for (int r = 0; r < 2; ++r) set_fractions<2, 0>(d, m, r, runs);
    return runs;
  }
};

template <>
struct GgufEights<quant::BlockQ8_0> : SmallBlockLanes {
  static constexpr int kAlignment = 2;
  static constexpr bool kIsFraction = false;
  static constexpr bool kHasOffset = false;
  struct Raw {
    std::uint32_t d;
    std::uint32_t qs[2];
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block = small_block<quant::BlockQ8_0>(row, step, lane);
    const std::byte* const codes = block + 2 + 4 * (lane % 4);
    return {load_half_word(block), {load_word<2>(codes), load_word<2>(codes + kApart)}};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int /*lane*/) {
    const float d = half_bits_to_float(raw.d);
    return {{{raw.qs[0], raw.qs[1]}}, {d, d}, {}};
  }
};

/// Four entries of a table of signed bytes in a word.
template <typename Table>
constexpr std::uint32_t table_word(const Table& table, unsigned word) {
  std::uint32_t bytes = 0;
  for (unsigned i = 0; i < 4; ++i) {
    bytes |= std::uint32_t{static_cast<std::uint8_t>(table[4 * word + i])} << (8 * i);
  }
  return bytes;
}

/// The entries of kIQ4Values for four codes in bytes.
__device__ inline std::uint32_t iq4_values(std::uint32_t codes) {
  constexpr std::uint32_t kTable[4] = {
      table_word(quant::kIQ4Values, 0), table_word(quant::kIQ4Values, 1),
      table_word(quant::kIQ4Values, 2), table_word(quant::kIQ4Values, 3)};
  return look_up_each(codes, kTable);
}

template <>
struct GgufEights<quant::BlockIQ4_NL> : SmallBlockLanes {
  static constexpr int kAlignment = 2;
  static constexpr bool kIsFraction = false;
  static constexpr bool kHasOffset = false;
  using Raw = GgufEights<quant::BlockQ4_0>::Raw;
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    static_assert(sizeof(quant::BlockIQ4_NL) == sizeof(quant::BlockQ4_0));
    return GgufEights<quant::BlockQ4_0>::load(row, step, lane);
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int /*lane*/) {
    const float d = half_bits_to_float(raw.d);
    return {
        {{iq4_values(raw.qs & 0x0F0F0F0FU), iq4_values(raw.qs >> 4 & 0x0F0F0F0FU)}}, {d, d}, {}};
  }
};

template <>
struct GgufEights<quant::BlockMXFP4> : SmallBlockLanes {
  static constexpr int kAlignment = 1;
  static constexpr bool kIsFraction = false;
  static constexpr bool kHasOffset = false;
  struct Raw {
    std::uint32_t e;
    std::uint32_t qs;
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block = small_block<quant::BlockMXFP4>(row, step, lane);
    return {load_byte(block), load_word<1>(block + 1 + 4 * (lane % 4))};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int /*lane*/) {
    constexpr std::uint32_t kTable[4] = {
        table_word(quant::kFP4Doubled, 0), table_word(quant::kFP4Doubled, 1),
        table_word(quant::kFP4Doubled, 2), table_word(quant::kFP4Doubled, 3)};
    const float d = __uint_as_float(raw.e < 2 ? 0x00200000U << raw.e : (raw.e - 1) << 23);
    return {{{look_up_each(raw.qs & 0x0F0F0F0FU, kTable),
              look_up_each(raw.qs >> 4 & 0x0F0F0F0FU, kTable)}},
            {d, d},
            {}};
  }
};

template <>
struct GgufEights<quant::BlockIQ4_XS> : SmallBlockLanes {
  static constexpr int kValues = quant::kSuperBlock;
  static constexpr int kAlignment = 4;
  static constexpr bool kIsFraction = false;
  static constexpr bool kHasOffset = false;
  struct Raw {
    std::uint32_t d_scales_h;
    std::uint32_t scales_l;
    std::uint32_t qs;
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block =
        row + std::int64_t{step} * static_cast<int>(sizeof(quant::BlockIQ4_XS));
    return {load_word<4>(block), load_word<4>(block + 4), load_word<4>(block + 8 + 4 * lane)};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int lane) {
    const int group = lane / 4;
    const std::uint32_t low = raw.scales_l >> (4 * group) & 15U;
    const std::uint32_t high = raw.d_scales_h >> (16 + 2 * group) & 3U;
    const float scale = half_bits_to_float(raw.d_scales_h) *
                        static_cast<float>(static_cast<int>(low | high << 4) - 32);
    return {{{iq4_values(raw.qs & 0x0F0F0F0FU), iq4_values(raw.qs >> 4 & 0x0F0F0F0FU)}},
            {scale, scale},
            {}};
  }
};

/// Q4_K and Q5_K: sixteen bytes of scales, and codes of which a word holds four values of two
/// groups of 32. Half a warp takes a block, two words a lane, so that scales are unpacked once for
/// both.
struct KScales {
  static constexpr int kValues = quant::kSuperBlock;
  static constexpr int kWords = 2;
  static constexpr int kAlignment = 16;
  static constexpr int kApart = 32;
  static constexpr bool kIsFraction = true;
  static constexpr bool kHasOffset = true;
  static __device__ int first(int lane) {
    return 256 * (lane / 16) + 64 * pair_of(lane) + 8 * (lane % 4);
  }
  /// Groups 2 p and 2 p + 1 of the block.
  static __device__ int pair_of(int lane) { return lane / 4 % 4; }

  template <typename Block>
  static __device__ const std::byte* block(const std::byte* row, int step, int lane) {
    return row + (std::int64_t{step} * 2 + lane / 16) * static_cast<int>(sizeof(Block));
  }
  /// d and dmin, then the twelve bytes of k_scale_min().
  static __device__ uint4 load_header(const std::byte* block) {
    return __ldg(reinterpret_cast<const uint4*>(block));
  }
  static __device__ uint2 load_words(const std::byte* at) {
    return __ldg(reinterpret_cast<const uint2*>(at));
  }
  template <int kShift>
  static __device__ void set_scales(const uint4& header, int lane, GgufRuns<2>& runs) {
    const float d = half_bits_to_float(header.x);
    const float dmin = half_bits_to_float(header.x >> 16);
    // Bytes of the pair: of groups 0 to 3, or of groups 4 to 7.
    const int shift = 16 * (pair_of(lane) % 2);
    const std::uint32_t of_scale = header.y >> shift;
    const std::uint32_t of_min = header.z >> shift;
    const std::uint32_t shared = header.w >> shift;
    const bool is_upper = pair_of(lane) >= 2;
    const std::uint32_t scales =
        is_upper ? (shared & 0x0F0FU) | (of_scale >> 2 & 0x3030U) : of_scale & 0x3F3FU;
    const std::uint32_t minima =
        is_upper ? (shared >> 4 & 0x0F0FU) | (of_min >> 2 & 0x3030U) : of_min & 0x3F3FU;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      set_fractions<kShift, 0>(d * static_cast<float>(scales >> (8 * r) & 255U),
                               -dmin * static_cast<float>(minima >> (8 * r) & 255U), r, runs);
    }
  }
};

template <>
struct GgufEights<quant::BlockQ4_K> : KScales {
  struct Raw {
    uint4 header;
    uint2 qs;
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const at = block<quant::BlockQ4_K>(row, step, lane);
    return {load_header(at), load_words(at + 16 + 8 * (lane % 16))};
  }
  static __device__ GgufRuns<2> runs(const Raw& raw, int lane) {
    GgufRuns<2> runs{{{raw.qs.x << 3 & 0x78787878U, raw.qs.x >> 1 & 0x78787878U},
                      {raw.qs.y << 3 & 0x78787878U, raw.qs.y >> 1 & 0x78787878U}},
                     {},
                     {}};
    set_scales<3>(raw.header, lane, runs);
    return runs;
  }
};

template <>
struct GgufEights<quant::BlockQ5_K> : KScales {
  struct Raw {
    uint4 header;
    uint2 qh;
    uint2 qs;
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const at = block<quant::BlockQ5_K>(row, step, lane);
    return {load_header(at), load_words(at + 16 + 8 * (lane % 4)),
            load_words(at + 48 + 8 * (lane % 16))};
  }
  static __device__ GgufRuns<2> runs(const Raw& raw, int lane) {
    const int shift = 2 * pair_of(lane);
    GgufRuns<2> runs{{}, {}, {}};
    set_codes(raw.qs.x, raw.qh.x >> shift, runs.codes[0]);
    set_codes(raw.qs.y, raw.qh.y >> shift, runs.codes[1]);
    set_scales<2>(raw.header, lane, runs);
    return runs;
  }
  static __device__ void set_codes(std::uint32_t qs, std::uint32_t bits,
                                   std::uint32_t (&codes)[2]) {
    codes[0] = (qs << 2 & 0x3C3C3C3CU) | (bits << 6 & 0x40404040U);
    codes[1] = (qs >> 2 & 0x3C3C3C3CU) | (bits << 5 & 0x40404040U);
  }
};

template <>
struct GgufEights<quant::BlockQ6_K> {
  static constexpr int kValues = quant::kSuperBlock;
  static constexpr int kWords = 1;
  static constexpr int kAlignment = 2;
  static constexpr bool kIsFraction = true;
  static constexpr bool kHasOffset = true;
  static constexpr int kApart = 64;
  static __device__ int first(int lane) {
    return 128 * (lane / 16) + 32 * (lane / 8 % 2) + 4 * (lane % 8);
  }
  struct Raw {
    std::uint32_t d;
    std::uint32_t ql;
    std::uint32_t qh;
    std::uint32_t scales[2];
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block =
        row + std::int64_t{step} * static_cast<int>(sizeof(quant::BlockQ6_K));
    const std::byte* const scales = block + 192 + first(lane) / 16;
    return {load_half_word(block + 208),
            load_word<2>(block + 4 * lane),
            load_word<2>(block + 128 + 32 * (lane / 16) + 4 * (lane % 8)),
            {load_byte(scales), load_byte(scales + 4)}};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int lane) {
    const std::uint32_t bits = raw.qh >> (2 * (lane / 8 % 2));
    GgufRuns<1> runs{{{(raw.ql << 1 & 0x1E1E1E1EU) | (bits << 5 & 0x60606060U),
                       (raw.ql >> 3 & 0x1E1E1E1EU) | (bits << 1 & 0x60606060U)}},
                     {},
                     {}};
    const float d = half_bits_to_float(raw.d);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      set_fractions<1, 32>(d * static_cast<float>(static_cast<std::int8_t>(raw.scales[r])), 0, r,
                           runs);
    }
    return runs;
  }
};

/// Q2_K and Q3_K: bits 2 s, 2 s + 1 of a word of 64 bytes are values of quarter s of its half; of
/// the two lanes that read a word, one takes quarters 0 and 2, the other 1 and 3.
struct TwoBitLanes {
  static constexpr int kValues = quant::kSuperBlock;
  static constexpr int kWords = 1;
  static constexpr bool kIsFraction = true;
  static constexpr bool kHasOffset = true;
  static constexpr int kApart = 64;
  static __device__ int first(int lane) {
    return 128 * (lane % 16 / 8) + 32 * (lane / 16) + 4 * (lane % 8);
  }
  /// Codes of two bits.
  static __device__ void set_codes(std::uint32_t qs, int lane, std::uint32_t (&codes)[2]) {
    codes[0] = qs >> (2 * (lane / 16)) & 0x03030303U;
    codes[1] = qs >> (2 * (lane / 16) + 4) & 0x03030303U;
  }
};

template <>
struct GgufEights<quant::BlockQ2_K> : TwoBitLanes {
  static constexpr int kAlignment = 4;
  struct Raw {
    std::uint32_t d_dmin;
    std::uint32_t qs;
    std::uint32_t scales[2];
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block =
        row + std::int64_t{step} * static_cast<int>(sizeof(quant::BlockQ2_K));
    const std::byte* const scales = block + first(lane) / 16;
    return {load_word<4>(block + 80),
            load_word<4>(block + 16 + 4 * (lane % 16)),
            {load_byte(scales), load_byte(scales + 4)}};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int lane) {
    const float d = half_bits_to_float(raw.d_dmin);
    const float dmin = half_bits_to_float(raw.d_dmin >> 16);
    GgufRuns<1> runs;
    set_codes(raw.qs, lane, runs.codes[0]);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      runs.codes[0][r] <<= 5;
      set_fractions<5, 0>(d * static_cast<float>(raw.scales[r] & 15U),
                          -dmin * static_cast<float>(raw.scales[r] >> 4), r, runs);
    }
    return runs;
  }
};

template <>
struct GgufEights<quant::BlockQ3_K> : TwoBitLanes {
  static constexpr int kAlignment = 2;
  struct Raw {
    std::uint32_t d;
    std::uint32_t hmask;
    std::uint32_t qs;
    std::uint32_t low[2];  // bytes of q3_k_scale()
    std::uint32_t high;
  };
  static __device__ Raw load(const std::byte* row, int step, int lane) {
    const std::byte* const block =
        row + std::int64_t{step} * static_cast<int>(sizeof(quant::BlockQ3_K));
    const std::byte* const scales = block + 96;
    const int group = first(lane) / 16;
    return {load_half_word(block + 108),
            load_word<2>(block + 4 * (lane % 8)),
            load_word<2>(block + 32 + 4 * (lane % 16)),
            {load_byte(scales + group % 8), load_byte(scales + (group + 4) % 8)},
            load_byte(scales + 8 + group % 4)};
  }
  static __device__ GgufRuns<1> runs(const Raw& raw, int lane) {
    const int group = first(lane) / 16;
    const int bit = 4 * (lane % 16 / 8) + lane / 16;  // of the first run; the second's is 2 more
    const float d = half_bits_to_float(raw.d);
    GgufRuns<1> runs;
    set_codes(raw.qs, lane, runs.codes[0]);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int g = group + 4 * r;
      const std::uint32_t scale =
          (raw.low[r] >> (4 * (g / 8)) & 15U) | (raw.high >> (2 * (g / 4)) & 3U) << 4;
      const std::uint32_t keeps = raw.hmask >> (bit + 2 * r) & 0x01010101U;
      runs.codes[0][r] = runs.codes[0][r] << 4 | keeps << 6;
      set_fractions<4, 4>(d * static_cast<float>(static_cast<int>(scale) - 32), 0, r, runs);
    }
    return runs;
  }
};

}  // namespace shoehorn::cuda
