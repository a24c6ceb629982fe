// GGUF's blocks as vectors of eight floats, for linear_gguf_avx2.cc alone. Quants are brought to
// bytes in the order of their values, widened from there, and multiplied with x before they are
// scaled: a group of 32 (or 16) values has one scale, and one offset times the sum of its x.
//
// A chunk is the blocks whose scales are widened together, a step of it what is brought to bytes
// together: bytes(s) gives kStepValues of them.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_gguf_scales.h"
#include "quant/ggml_blocks.h"

namespace shoehorn::avx2 {

static inline __m128i load16(const void* bytes) {
  return _mm_loadu_si128(static_cast<const __m128i*>(bytes));
}
static inline __m256i load32(const void* bytes) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
}
static inline __m128i low_nibbles(__m128i bytes) {
  return _mm_and_si128(bytes, _mm_set1_epi8(15));
}
static inline __m128i high_nibbles(__m128i bytes) {
  return _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
}
static inline __m256i low_nibbles(__m256i bytes) {
  return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}
static inline __m256i high_nibbles(__m256i bytes) {
  return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
}

// The quants of a step; every type's are signed bytes.
template <int kValues>
struct Quants {
  alignas(32) std::uint8_t q[kValues];

  void put(int at, __m128i bytes) { _mm_store_si128(reinterpret_cast<__m128i*>(q + at), bytes); }
  void put(int at, __m256i bytes) { _mm256_store_si256(reinterpret_cast<__m256i*>(q + at), bytes); }
};

// Sixteen blocks of 32 values with one scale each; kDivisor is what their bytes are too large by.
template <typename BlockType, int kDivisor = 1>
struct ScaledBlocks {
  using Block = BlockType;
  static constexpr int kBlockValues = quant::kSmallBlock;
  static constexpr int kChunkBlocks = gguf::kSmallChunk;
  static constexpr int kStepValues = kBlockValues;
  static constexpr int kGroupValues = kBlockValues;
  static constexpr bool kHasOffset = false;
  using Raw = gguf::RawScales;
  struct Scales {
    alignas(32) float d[kChunkBlocks];
    float scale(int g) const { return d[g]; }
  };
  static void gather(const Block* blocks, int count, Raw& raw) { raw.gather(blocks, count); }
  static void widen(const Block* /*blocks*/, const Raw& raw, Scales& scales) {
    const __m256 factor = _mm256_set1_ps(1.0F / kDivisor);
    for (int i = 0; i < kChunkBlocks; i += 8) {
      _mm256_store_ps(scales.d + i, _mm256_mul_ps(factor, _mm256_cvtph_ps(load16(raw.d + i))));
    }
  }
};

struct StepsQ4_0 : ScaledBlocks<quant::BlockQ4_0, 16> {
  // A nibble with its uppermost bit flipped is q - 8 in two's complement; put into the upper half
  // of a byte, 16 (q - 8).
  static void bytes(const Block* blocks, int s, Quants<kStepValues>& quants) {
    const __m128i upper = _mm_set1_epi8(static_cast<char>(0xF0));
    const __m128i packed =
        _mm_xor_si128(load16(blocks[s].qs), _mm_set1_epi8(static_cast<char>(0x88)));
    quants.put(0, _mm_and_si128(_mm_slli_epi16(packed, 4), upper));
    quants.put(16, _mm_and_si128(packed, upper));
  }
};

struct StepsIQ4_NL : ScaledBlocks<quant::BlockIQ4_NL> {
  static void bytes(const Block* blocks, int s, Quants<kStepValues>& quants) {
    const __m128i values = load16(quant::kIQ4Values.data());
    const __m128i packed = load16(blocks[s].qs);
    quants.put(0, _mm_shuffle_epi8(values, low_nibbles(packed)));
    quants.put(16, _mm_shuffle_epi8(values, high_nibbles(packed)));
  }
};

struct StepsMXFP4 : ScaledBlocks<quant::BlockMXFP4> {
  using Raw = gguf::RawPowers;
  static void gather(const Block* blocks, int count, Raw& raw) { raw.gather(blocks, count); }
  static void widen(const Block* /*blocks*/, const Raw& raw, Scales& scales) {
    for (int i = 0; i < kChunkBlocks; i += 8) {
      _mm256_store_ps(scales.d + i, _mm256_castsi256_ps(load32(raw.bits + i)));
    }
  }
  static void bytes(const Block* blocks, int s, Quants<kStepValues>& quants) {
    const __m128i values = load16(quant::kFP4Doubled.data());
    const __m128i packed = load16(blocks[s].qs);
    quants.put(0, _mm_shuffle_epi8(values, low_nibbles(packed)));
    quants.put(16, _mm_shuffle_epi8(values, high_nibbles(packed)));
  }
};

struct StepsQ8_0 : ScaledBlocks<quant::BlockQ8_0> {
  static void bytes(const Block* blocks, int s, Quants<kStepValues>& quants) {
    quants.put(0, load32(blocks[s].qs));
  }
};

// All bits of the bytes whose bit is set in `bits` (bit i belongs to byte i).
static inline __m128i bytes_of_bits(std::uint32_t bits) {
  const __m128i spread =
      _mm_shuffle_epi8(_mm_cvtsi32_si128(static_cast<int>(bits)),
                       _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  const __m128i each = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  return _mm_cmpeq_epi8(_mm_and_si128(spread, each), each);
}

struct StepsQ5_0 : ScaledBlocks<quant::BlockQ5_0> {
  // q - 16: where the fifth bit is not set, the nibble with the bits above it set.
  static void bytes(const Block* blocks, int s, Quants<kStepValues>& quants) {
    const __m128i upper = _mm_set1_epi8(static_cast<char>(0xF0));
    const std::uint32_t qh = blocks[s].qh;
    const __m128i packed = load16(blocks[s].qs);
    quants.put(0, _mm_or_si128(low_nibbles(packed), _mm_andnot_si128(bytes_of_bits(qh), upper)));
    quants.put(
        16, _mm_or_si128(high_nibbles(packed), _mm_andnot_si128(bytes_of_bits(qh >> 16), upper)));
  }
};

// Sixteen blocks of 32 values with a scale and a minimum each.
template <typename BlockType>
struct ScaledBlocksWithMin {
  using Block = BlockType;
  static constexpr int kBlockValues = quant::kSmallBlock;
  static constexpr int kChunkBlocks = gguf::kSmallChunk;
  static constexpr int kStepValues = kBlockValues;
  static constexpr int kGroupValues = kBlockValues;
  static constexpr bool kHasOffset = true;
  using Raw = gguf::RawScalesAndMins;
  struct Scales {
    alignas(32) float dm[2 * kChunkBlocks];
    float scale(int g) const { return dm[2 * g]; }
    float offset(int g) const { return dm[2 * g + 1]; }
  };
  static void gather(const Block* blocks, int count, Raw& raw) { raw.gather(blocks, count); }
  static void widen(const Block* /*blocks*/, const Raw& raw, Scales& scales) {
    for (int i = 0; i < kChunkBlocks; i += 4) {
      _mm256_store_ps(scales.dm + 2 * i, _mm256_cvtph_ps(load16(raw.dm + i)));
    }
  }
};

struct StepsQ4_1 : ScaledBlocksWithMin<quant::BlockQ4_1> {
  static void bytes(const Block* blocks, int s, Quants<kStepValues>& quants) {
    const __m128i packed = load16(blocks[s].qs);
    quants.put(0, low_nibbles(packed));
    quants.put(16, high_nibbles(packed));
  }
};

struct StepsQ5_1 : ScaledBlocksWithMin<quant::BlockQ5_1> {
  static void bytes(const Block* blocks, int s, Quants<kStepValues>& quants) {
    const __m128i sixteen = _mm_set1_epi8(16);
    const std::uint32_t qh = blocks[s].qh;
    const __m128i packed = load16(blocks[s].qs);
    quants.put(0, _mm_or_si128(low_nibbles(packed), _mm_and_si128(bytes_of_bits(qh), sixteen)));
    quants.put(16,
               _mm_or_si128(high_nibbles(packed), _mm_and_si128(bytes_of_bits(qh >> 16), sixteen)));
  }
};

// The scales and minimums of Q4_K and Q5_K; a step is the groups 2s and 2s + 1.
template <typename BlockType>
struct ScaledGroups {
  using Block = BlockType;
  static constexpr int kBlockValues = quant::kSuperBlock;
  static constexpr int kChunkBlocks = 1;
  static constexpr int kStepValues = 64;
  static constexpr int kGroupValues = 32;
  static constexpr bool kHasOffset = true;
  using Raw = gguf::RawGroupScales;
  struct Scales {
    alignas(32) float at[16];
    float scale(int g) const { return at[gguf::scale_index(g)]; }
    float offset(int g) const { return at[gguf::min_index(g)]; }
  };
  static void gather(const Block* block, int /*count*/, Raw& raw) { raw.gather(block->scales); }
  static void widen(const Block* block, const Raw& raw, Scales& scales) {
    // Four times d, four times -dmin.
    const __m128 d = _mm_set1_ps(_cvtsh_ss(block->d));
    const __m128 dmin = _mm_set1_ps(-_cvtsh_ss(block->dmin));
    const __m256 units = _mm256_insertf128_ps(_mm256_castps128_ps256(d), dmin, 1);
    const auto* const eights = reinterpret_cast<const __m128i*>(&raw);
    const __m256i low = _mm256_cvtepu8_epi32(_mm_loadl_epi64(eights));
    const __m256i high = _mm256_cvtepu8_epi32(_mm_bsrli_si128(_mm_load_si128(eights), 8));
    _mm256_store_ps(scales.at, _mm256_mul_ps(units, _mm256_cvtepi32_ps(low)));
    _mm256_store_ps(scales.at + 8, _mm256_mul_ps(units, _mm256_cvtepi32_ps(high)));
  }
};

struct StepsQ4_K : ScaledGroups<quant::BlockQ4_K> {
  static void bytes(const Block* block, int s, Quants<kStepValues>& quants) {
    const __m256i packed = load32(block->qs + 32 * s);
    quants.put(0, low_nibbles(packed));
    quants.put(32, high_nibbles(packed));
  }
};

struct StepsQ5_K : ScaledGroups<quant::BlockQ5_K> {
  static void bytes(const Block* block, int s, Quants<kStepValues>& quants) {
    const __m256i packed = load32(block->qs + 32 * s);
    // The bits of the two groups, first as bits 0 and 1.
    const __m256i fifths = _mm256_srli_epi16(load32(block->qh), 2 * s);
    const __m256i sixteen = _mm256_set1_epi8(16);
    const __m256i low = _mm256_and_si256(_mm256_slli_epi16(fifths, 4), sixteen);
    const __m256i high = _mm256_and_si256(_mm256_slli_epi16(fifths, 3), sixteen);
    quants.put(0, _mm256_or_si256(low_nibbles(packed), low));
    quants.put(32, _mm256_or_si256(high_nibbles(packed), high));
  }
};

struct StepsQ6_K {
  using Block = quant::BlockQ6_K;
  static constexpr int kBlockValues = quant::kSuperBlock;
  static constexpr int kChunkBlocks = 1;
  static constexpr int kStepValues = 128;
  static constexpr int kGroupValues = 16;
  static constexpr bool kHasOffset = false;
  struct Raw {};
  struct Scales {
    alignas(32) float group[16];
    float scale(int g) const { return group[g]; }
  };
  static void gather(const Block* /*block*/, int /*count*/, Raw& /*raw*/) {}
  static void widen(const Block* block, const Raw& /*raw*/, Scales& scales) {
    const __m256 d = _mm256_set1_ps(_cvtsh_ss(block->d));
    for (int i = 0; i < 16; i += 8) {
      const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block->scales + i));
      const __m256 factors = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight));
      _mm256_store_ps(scales.group + i, _mm256_mul_ps(d, factors));
    }
  }

  // Half a block, quarter by quarter.
  static void bytes(const Block* block, int s, Quants<kStepValues>& quants) {
    const __m256i first = load32(block->ql + 64 * s);
    const __m256i second = load32(block->ql + 64 * s + 32);
    const __m256i bits = load32(block->qh + 32 * s);
    put_quarter(low_nibbles(first), _mm256_slli_epi16(bits, 4), 0, quants);
    put_quarter(low_nibbles(second), _mm256_slli_epi16(bits, 2), 32, quants);
    put_quarter(high_nibbles(first), bits, 64, quants);
    put_quarter(high_nibbles(second), _mm256_srli_epi16(bits, 2), 96, quants);
  }

 private:
  // Bits 4 and 5 of `bits` above the nibbles, and 32 less.
  static void put_quarter(__m256i nibbles, __m256i bits, int at, Quants<kStepValues>& quants) {
    const __m256i upper = _mm256_and_si256(bits, _mm256_set1_epi8(0x30));
    quants.put(at, _mm256_sub_epi8(_mm256_or_si256(nibbles, upper), _mm256_set1_epi8(32)));
  }
};

}  // namespace shoehorn::avx2
