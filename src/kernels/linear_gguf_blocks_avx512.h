// GGUF's blocks as vectors of sixteen floats, for linear_gguf_avx512.cc alone. A four-bit group has
// sixteen values at most: they are computed once, as decoding would, and looked up (permutexvar
// reads the low four bits of an index, so low nibbles need no masking). That makes a value of every
// such type cost the same, whether it has a minimum or not, and infinite scales give what they give
// decoded.
//
// A chunk is the blocks whose scales are widened together, a step of it what is prepared together,
// a part of a step 32 values: use(offset, values) takes sixteen that start `offset` values into the
// chunk. Parts are small so that each vector of x is used for all rows of W while it is at hand.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_gguf_scales.h"
#include "quant/ggml_blocks.h"

namespace shoehorn::avx512 {

// Sixteen bytes, each in a 32-bit lane.
static inline __m512i load16(const void* bytes) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(bytes)));
}
static inline __m512i load16_signed(const void* bytes) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(bytes)));
}

static inline __m512 scaled(float scale, __m512 values) {
  return _mm512_mul_ps(_mm512_set1_ps(scale), values);
}

static inline __m512 scaled_plus(float scale, __m512 values, float offset) {
  return _mm512_fmadd_ps(_mm512_set1_ps(scale), values, _mm512_set1_ps(offset));
}

// table[index mod 16]
static inline __m512 looked_up(__m512i index, __m512 table) {
  return _mm512_permutexvar_ps(index, table);
}
// Of 32 values: tables[0] are the lower ones; reads the low five bits of an index.
static inline __m512 looked_up(__m512i index, const __m512 (&tables)[2]) {
  return _mm512_permutex2var_ps(tables[0], index, tables[1]);
}

// Bits of `mask` from a, others from b.
static inline __m512i select(std::uint8_t mask, __m512i a, __m512i b) {
  return _mm512_ternarylogic_epi64(_mm512_set1_epi8(static_cast<char>(mask)), a, b, 0xCA);
}

// 0, 1, ..., 15 plus `first`.
static inline __m512 iota(float first) {
  const __m512 steps = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_add_ps(steps, _mm512_set1_ps(first));
}

// Sixteen blocks of 32 values with one scale each.
template <typename BlockType>
struct ScaledBlocks {
  using Block = BlockType;
  static constexpr int kBlockValues = quant::kSmallBlock;
  static constexpr int kChunkBlocks = gguf::kSmallChunk;
  static constexpr int kSteps = kChunkBlocks;
  static constexpr int kParts = 1;
  using Raw = gguf::RawScales;
  struct Scales {
    alignas(64) float d[kChunkBlocks];
  };
  struct Step {};
  static void step(const Block* /*blocks*/, int /*s*/, const Scales& /*scales*/, Step& /*step*/) {}
  static void gather(const Block* blocks, int count, Raw& raw) { raw.gather(blocks, count); }
  static void widen(const Block* /*blocks*/, const Raw& raw, Scales& scales) {
    const __m256i halves = _mm256_load_si256(reinterpret_cast<const __m256i*>(raw.d));
    _mm512_store_ps(scales.d, _mm512_cvtph_ps(halves));
  }
};

struct StepsQ4_0 : ScaledBlocks<quant::BlockQ4_0> {
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* blocks, int s, int /*i*/,
                                          const Step& /*step*/, const Scales& scales,
                                          const Use& use) {
    const __m512 table = scaled(scales.d[s], iota(-8));
    const __m512i packed = load16(blocks[s].qs);
    use(32 * s, looked_up(packed, table));
    use(32 * s + 16, looked_up(_mm512_srli_epi32(packed, 4), table));
  }
};

struct StepsIQ4_NL : ScaledBlocks<quant::BlockIQ4_NL> {
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* blocks, int s, int /*i*/,
                                          const Step& /*step*/, const Scales& scales,
                                          const Use& use) {
    const __m512 values = _mm512_cvtepi32_ps(load16_signed(quant::kIQ4Values.data()));
    const __m512 table = scaled(scales.d[s], values);
    const __m512i packed = load16(blocks[s].qs);
    use(32 * s, looked_up(packed, table));
    use(32 * s + 16, looked_up(_mm512_srli_epi32(packed, 4), table));
  }
};

struct StepsMXFP4 : ScaledBlocks<quant::BlockMXFP4> {
  using Raw = gguf::RawPowers;
  static void gather(const Block* blocks, int count, Raw& raw) { raw.gather(blocks, count); }
  static void widen(const Block* /*blocks*/, const Raw& raw, Scales& scales) {
    _mm512_store_ps(scales.d, _mm512_castsi512_ps(_mm512_load_si512(raw.bits)));
  }
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* blocks, int s, int /*i*/,
                                          const Step& /*step*/, const Scales& scales,
                                          const Use& use) {
    const __m512 values = _mm512_cvtepi32_ps(load16_signed(quant::kFP4Doubled.data()));
    const __m512 table = scaled(scales.d[s], values);
    const __m512i packed = load16(blocks[s].qs);
    use(32 * s, looked_up(packed, table));
    use(32 * s + 16, looked_up(_mm512_srli_epi32(packed, 4), table));
  }
};

struct StepsQ8_0 : ScaledBlocks<quant::BlockQ8_0> {
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* blocks, int s, int /*i*/,
                                          const Step& /*step*/, const Scales& scales,
                                          const Use& use) {
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      const __m512i q = load16_signed(blocks[s].qs + 16 * c);
      use(32 * s + 16 * c, scaled(scales.d[s], _mm512_cvtepi32_ps(q)));
    }
  }
};

// Sixteen blocks of 32 values with a scale and a minimum each.
template <typename BlockType>
struct ScaledBlocksWithMin {
  using Block = BlockType;
  static constexpr int kBlockValues = quant::kSmallBlock;
  static constexpr int kChunkBlocks = gguf::kSmallChunk;
  static constexpr int kSteps = kChunkBlocks;
  static constexpr int kParts = 1;
  using Raw = gguf::RawScalesAndMins;
  struct Scales {
    alignas(64) float dm[2 * kChunkBlocks];
    float d(int i) const { return dm[2 * i]; }
    float m(int i) const { return dm[2 * i + 1]; }
  };
  struct Step {};
  static void step(const Block* /*blocks*/, int /*s*/, const Scales& /*scales*/, Step& /*step*/) {}
  static void gather(const Block* blocks, int count, Raw& raw) { raw.gather(blocks, count); }
  static void widen(const Block* /*blocks*/, const Raw& raw, Scales& scales) {
    const auto* const halves = reinterpret_cast<const __m256i*>(raw.dm);
    _mm512_store_ps(scales.dm, _mm512_cvtph_ps(_mm256_load_si256(halves)));
    _mm512_store_ps(scales.dm + 16, _mm512_cvtph_ps(_mm256_load_si256(halves + 1)));
  }
};

struct StepsQ4_1 : ScaledBlocksWithMin<quant::BlockQ4_1> {
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* blocks, int s, int /*i*/,
                                          const Step& /*step*/, const Scales& scales,
                                          const Use& use) {
    const __m512 table = scaled_plus(scales.d(s), iota(0), scales.m(s));
    const __m512i packed = load16(blocks[s].qs);
    use(32 * s, looked_up(packed, table));
    use(32 * s + 16, looked_up(_mm512_srli_epi32(packed, 4), table));
  }
};

// A block of Q5_0 or Q5_1, whose values are tables[0], tables[1] where the fifth bit is set.
template <typename Block, typename Use>
[[gnu::always_inline]] static inline void use_fives(const Block& block, const __m512 (&tables)[2],
                                                    int offset, const Use& use) {
  const __m512i fifth = _mm512_set1_epi32(16);
  const std::uint32_t qh = block.qh;
  const __m512i packed = load16(block.qs);
  const __m512i low = _mm512_andnot_si512(fifth, packed);
  const __m512i high = _mm512_srli_epi32(packed, 4);
  use(offset, looked_up(_mm512_mask_or_epi32(low, static_cast<__mmask16>(qh), low, fifth), tables));
  use(offset + 16,
      looked_up(_mm512_mask_or_epi32(high, static_cast<__mmask16>(qh >> 16), high, fifth), tables));
}

struct StepsQ5_0 : ScaledBlocks<quant::BlockQ5_0> {
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* blocks, int s, int /*i*/,
                                          const Step& /*step*/, const Scales& scales,
                                          const Use& use) {
    const __m512 tables[2] = {scaled(scales.d[s], iota(-16)), scaled(scales.d[s], iota(0))};
    use_fives(blocks[s], tables, 32 * s, use);
  }
};

struct StepsQ5_1 : ScaledBlocksWithMin<quant::BlockQ5_1> {
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* blocks, int s, int /*i*/,
                                          const Step& /*step*/, const Scales& scales,
                                          const Use& use) {
    const __m512 tables[2] = {scaled_plus(scales.d(s), iota(0), scales.m(s)),
                              scaled_plus(scales.d(s), iota(16), scales.m(s))};
    use_fives(blocks[s], tables, 32 * s, use);
  }
};

// The scales and minimums of Q4_K and Q5_K.
template <typename BlockType>
struct ScaledGroups {
  using Block = BlockType;
  static constexpr int kBlockValues = quant::kSuperBlock;
  static constexpr int kChunkBlocks = 1;
  using Raw = gguf::RawGroupScales;
  struct Scales {
    alignas(64) float at[16];
    float scale(int g) const { return at[gguf::scale_index(g)]; }
    float min(int g) const { return at[gguf::min_index(g)]; }
  };
  static void gather(const Block* block, int /*count*/, Raw& raw) { raw.gather(block->scales); }
  static void widen(const Block* block, const Raw& raw, Scales& scales) {
    // d and dmin, and what follows.
    const __m128i halves = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block));
    const __m512 pair = _mm512_castps128_ps512(_mm_cvtph_ps(halves));
    const __m512i which = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1);
    const __m512 factors = _mm512_cvtepi32_ps(load16(&raw));
    _mm512_store_ps(scales.at, _mm512_mul_ps(_mm512_permutexvar_ps(which, pair), factors));
  }
};

// d scale(g) q - dmin min(g) for q = first .. first + 15.
template <typename Scales>
static inline __m512 group_table(const Scales& scales, int g, float first) {
  return _mm512_fmsub_ps(_mm512_set1_ps(scales.scale(g)), iota(first),
                         _mm512_set1_ps(scales.min(g)));
}

struct StepsQ4_K : ScaledGroups<quant::BlockQ4_K> {
  static constexpr int kSteps = 4;
  static constexpr int kParts = 2;
  struct Step {
    __m512 low;
    __m512 high;
  };
  [[gnu::always_inline]] static void step(const Block* /*block*/, int s, const Scales& scales,
                                          Step& step) {
    step = {group_table(scales, 2 * s, 0), group_table(scales, 2 * s + 1, 0)};
  }
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* block, int s, int i, const Step& step,
                                          const Scales& /*scales*/, const Use& use) {
    const __m512i packed = load16(block->qs + 32 * s + 16 * i);
    use(64 * s + 16 * i, looked_up(packed, step.low));
    use(64 * s + 32 + 16 * i, looked_up(_mm512_srli_epi32(packed, 4), step.high));
  }
};

// The 128 quants of half a block, in the order of their bytes.
struct HalfBlock {
  alignas(64) std::uint8_t q[128];

  [[gnu::always_inline]] void set(__m512i first, __m512i second) {
    _mm512_store_si512(q, first);
    _mm512_store_si512(q + 64, second);
    gguf::keep_in_memory(q);
  }
};

static inline __m512i load32_twice(const std::uint8_t* bytes) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
}

struct StepsQ5_K : ScaledGroups<quant::BlockQ5_K> {
  static constexpr int kSteps = 2;
  static constexpr int kParts = 4;
  // Groups 4s and 4s + 2 are low nibbles of its 64 bytes, 4s + 1 and 4s + 3 high ones. The bit of
  // each group is rotated to where it is the fifth; bits above it do not matter.
  using Step = HalfBlock;
  [[gnu::always_inline]] static void step(const Block* block, int s, const Scales& /*scales*/,
                                          Step& step) {
    const __m512i even = _mm512_setr_epi64(4, 4, 4, 4, 2, 2, 2, 2);
    const __m512i by = _mm512_sub_epi64(even, _mm512_set1_epi64(4 * s));
    const __m512i odd_by = _mm512_sub_epi64(by, _mm512_set1_epi64(1));
    const __m512i fifths = load32_twice(block->qh);
    const __m512i nibbles = _mm512_loadu_si512(block->qs + 64 * s);
    step.set(select(15, nibbles, _mm512_rolv_epi64(fifths, by)),
             select(15, _mm512_srli_epi64(nibbles, 4), _mm512_rolv_epi64(fifths, odd_by)));
  }
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* /*block*/, int s, int i, const Step& step,
                                          const Scales& scales, const Use& use) {
    const int g = 4 * s + 2 * (i % 2) + i / 2;
    const __m512 tables[2] = {group_table(scales, g, 0), group_table(scales, g, 16)};
    use(32 * g, looked_up(load16(step.q + 32 * i), tables));
    use(32 * g + 16, looked_up(load16(step.q + 32 * i + 16), tables));
  }
};

struct StepsQ6_K {
  using Block = quant::BlockQ6_K;
  static constexpr int kBlockValues = quant::kSuperBlock;
  static constexpr int kChunkBlocks = 1;
  static constexpr int kSteps = 2;
  static constexpr int kParts = 4;
  struct Raw {};
  struct Scales {
    alignas(64) float group[16];
  };
  static void gather(const Block* /*block*/, int /*count*/, Raw& /*raw*/) {}
  static void widen(const Block* block, const Raw& /*raw*/, Scales& scales) {
    const __m512 factors = _mm512_cvtepi32_ps(load16_signed(block->scales));
    _mm512_store_ps(scales.group, scaled(_cvtsh_ss(block->d), factors));
  }

  // Low nibbles of its 64 bytes are the first 64 values, high ones the others. The two bits of each
  // quarter are rotated to above the nibble.
  using Step = HalfBlock;
  [[gnu::always_inline]] static void step(const Block* block, int s, const Scales& /*scales*/,
                                          Step& step) {
    const __m512i bits = load32_twice(block->qh + 32 * s);
    const __m512i nibbles = _mm512_loadu_si512(block->ql + 64 * s);
    const __m512i low_by = _mm512_setr_epi64(4, 4, 4, 4, 2, 2, 2, 2);
    const __m512i high_by = _mm512_setr_epi64(0, 0, 0, 0, 62, 62, 62, 62);
    const __m512i six_bits = _mm512_set1_epi8(63);
    const __m512i middle = _mm512_set1_epi8(32);
    const __m512i low = select(15, nibbles, _mm512_rolv_epi64(bits, low_by));
    const __m512i high =
        select(15, _mm512_srli_epi64(nibbles, 4), _mm512_rolv_epi64(bits, high_by));
    step.set(_mm512_sub_epi8(_mm512_and_si512(low, six_bits), middle),
             _mm512_sub_epi8(_mm512_and_si512(high, six_bits), middle));
  }
  template <typename Use>
  [[gnu::always_inline]] static void part(const Block* /*block*/, int s, int i, const Step& step,
                                          const Scales& scales, const Use& use) {
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      const int group = 8 * s + 2 * i + c;
      const __m512i q = load16_signed(step.q + 32 * i + 16 * c);
      use(16 * group, scaled(scales.group[group], _mm512_cvtepi32_ps(q)));
    }
  }
};

}  // namespace shoehorn::avx512
