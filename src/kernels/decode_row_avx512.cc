// decode_row and encode_row sixteen values at a time. A four-bit block has sixteen values at most:
// they are computed once, exactly as the reference would, and looked up (permutexvar reads the low
// four bits of an index, so low nibbles need no masking).
#include <array>
#include <bit>
#include <cstring>

#include <immintrin.h>

#include "kernels/decode_row_paths.h"
#include "quant/ggml_blocks.h"

namespace shoehorn::avx512 {
namespace {

using namespace quant;  // NOLINT(google-build-using-namespace): the block structs

/// Sixteen bytes, each in a 32-bit lane.
__m512i load16(const std::uint8_t* bytes) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}

/// 0, 1, ..., 15 plus `first`.
__m512 iota(float first) {
  const __m512 steps = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_add_ps(steps, _mm512_set1_ps(first));
}

__m512 as_floats(const std::array<std::int8_t, 16>& values) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&values));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

__m512 scaled(float scale, __m512 values) {
  return _mm512_mul_ps(_mm512_set1_ps(scale), values);
}

/// scale values[i] + offset, both rounded.
__m512 scaled_plus(float scale, __m512 values, float offset) {
  return _mm512_add_ps(scaled(scale, values), _mm512_set1_ps(offset));
}

/// out[i] = table[index[i] mod 16].
void store_looked_up(__m512i index, __m512 table, float* out) {
  _mm512_storeu_ps(out, _mm512_permutexvar_ps(index, table));
}

/// Sixteen packed bytes: their low nibbles looked up into `low`, the high ones into `high`.
void store_nibbles(const std::uint8_t* bytes, __m512 low_table, __m512 high_table, float* low,
                   float* high) {
  const __m512i packed = load16(bytes);
  store_looked_up(packed, low_table, low);
  store_looked_up(_mm512_srli_epi32(packed, 4), high_table, high);
}

/// Fives: low nibble of each lane with 16 added where the mask is set.
__m512i with_fifth_bit(__m512i lanes, __mmask16 fifth) {
  const __m512i nibbles = _mm512_and_si512(lanes, _mm512_set1_epi32(15));
  return _mm512_mask_add_epi32(nibbles, fifth, nibbles, _mm512_set1_epi32(16));
}

void decode_block(const BlockQ4_0& block, float* out) {
  const __m512 table = scaled(_cvtsh_ss(block.d), iota(-8));
  store_nibbles(block.qs, table, table, out, out + 16);
}

void decode_block(const BlockQ4_1& block, float* out) {
  const __m512 table = scaled_plus(_cvtsh_ss(block.d), iota(0), _cvtsh_ss(block.m));
  store_nibbles(block.qs, table, table, out, out + 16);
}

void decode_block(const BlockQ5_0& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const std::uint32_t qh = block.qh;
  const __m512i packed = load16(block.qs);
  const __m512i sixteen = _mm512_set1_epi32(16);
  const __m512i low = with_fifth_bit(packed, static_cast<__mmask16>(qh));
  const __m512i high =
      with_fifth_bit(_mm512_srli_epi32(packed, 4), static_cast<__mmask16>(qh >> 16));
  _mm512_storeu_ps(out, scaled(d, _mm512_cvtepi32_ps(_mm512_sub_epi32(low, sixteen))));
  _mm512_storeu_ps(out + 16, scaled(d, _mm512_cvtepi32_ps(_mm512_sub_epi32(high, sixteen))));
}

void decode_block(const BlockQ5_1& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const float m = _cvtsh_ss(block.m);
  const std::uint32_t qh = block.qh;
  const __m512i packed = load16(block.qs);
  const __m512i low = with_fifth_bit(packed, static_cast<__mmask16>(qh));
  const __m512i high =
      with_fifth_bit(_mm512_srli_epi32(packed, 4), static_cast<__mmask16>(qh >> 16));
  _mm512_storeu_ps(out, scaled_plus(d, _mm512_cvtepi32_ps(low), m));
  _mm512_storeu_ps(out + 16, scaled_plus(d, _mm512_cvtepi32_ps(high), m));
}

void decode_block(const BlockQ8_0& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  for (int c = 0; c < 2; ++c) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.qs + 16 * c));
    _mm512_storeu_ps(out + 16 * c, scaled(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))));
  }
}

/// The sixteen group scales of a super-block, in an order that each type says.
using GroupScales = std::array<float, 16>;

GroupScales stored(__m512 scales) {
  GroupScales values;
  _mm512_storeu_ps(values.data(), scales);
  return values;
}

/// Of Q4_K and Q5_K: eight scales d scale(g), then eight offsets -(dmin min(g)). The packing of
/// k_scale_min, four groups at a time.
GroupScales scales_and_offsets(const std::uint8_t* packed, float d, float dmin) {
  std::uint32_t words[3];
  std::memcpy(words, packed, sizeof(words));
  const __m128i bytes = _mm_setr_epi32(
      static_cast<int>(words[0] & 0x3F3F3F3F),
      static_cast<int>((words[2] & 0x0F0F0F0F) | ((words[0] >> 2) & 0x30303030)),
      static_cast<int>(words[1] & 0x3F3F3F3F),
      static_cast<int>(((words[2] >> 4) & 0x0F0F0F0F) | ((words[1] >> 2) & 0x30303030)));
  const __m512 units = _mm512_mask_blend_ps(0xFF00, _mm512_set1_ps(d), _mm512_set1_ps(-dmin));
  return stored(_mm512_mul_ps(units, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))));
}

// In the K types: h half of the block (128 values), s quarter of the half (32 values), c half of
// the quarter (16 values, one group of the types with sixteen).

void decode_block(const BlockQ2_K& block, float* out) {
  const __m512i packed = load16(block.scales);
  const __m512i low = _mm512_and_si512(packed, _mm512_set1_epi32(15));
  const GroupScales scales = stored(scaled(_cvtsh_ss(block.d), _mm512_cvtepi32_ps(low)));
  const GroupScales offsets =
      stored(scaled(-_cvtsh_ss(block.dmin), _mm512_cvtepi32_ps(_mm512_srli_epi32(packed, 4))));
  // Repeats every four entries, so that the two bits above the quant do not matter.
  const __m512 fours = _mm512_setr_ps(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
  for (int h = 0; h < 2; ++h) {
    for (int c = 0; c < 2; ++c) {
      __m512i lanes = load16(block.qs + 32 * h + 16 * c);
      for (int s = 0; s < 4; ++s) {
        const int group = 8 * h + 2 * s + c;
        store_looked_up(lanes, scaled_plus(scales[group], fours, offsets[group]), out + 16 * group);
        lanes = _mm512_srli_epi32(lanes, 2);
      }
    }
  }
}

void decode_block(const BlockQ3_K& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  for (int h = 0; h < 2; ++h) {
    for (int c = 0; c < 2; ++c) {
      __m512i lanes = load16(block.qs + 32 * h + 16 * c);
      const __m512i hmask = load16(block.hmask + 16 * c);
      for (int s = 0; s < 4; ++s) {
        const int group = 8 * h + 2 * s + c;
        const float scale = d * static_cast<float>(q3_k_scale(block.scales, group) - 32);
        const __m512i low = _mm512_and_si512(lanes, _mm512_set1_epi32(3));
        const __mmask16 keeps = _mm512_test_epi32_mask(hmask, _mm512_set1_epi32(1 << (4 * h + s)));
        const __m512i q = _mm512_mask_add_epi32(low, keeps, low, _mm512_set1_epi32(4));
        store_looked_up(q, scaled(scale, iota(-4)), out + 16 * group);
        lanes = _mm512_srli_epi32(lanes, 2);
      }
    }
  }
}

void decode_block(const BlockQ4_K& block, float* out) {
  const GroupScales scales =
      scales_and_offsets(block.scales, _cvtsh_ss(block.d), _cvtsh_ss(block.dmin));
  for (int pair = 0; pair < 4; ++pair) {
    const int first = 2 * pair;
    const __m512 low = scaled_plus(scales[first], iota(0), scales[8 + first]);
    const __m512 high = scaled_plus(scales[first + 1], iota(0), scales[8 + first + 1]);
    float* to = out + 64 * pair;
    store_nibbles(block.qs + 32 * pair, low, high, to, to + 32);
    store_nibbles(block.qs + 32 * pair + 16, low, high, to + 16, to + 48);
  }
}

void decode_block(const BlockQ5_K& block, float* out) {
  const GroupScales scales =
      scales_and_offsets(block.scales, _cvtsh_ss(block.d), _cvtsh_ss(block.dmin));
  const __m512i bit = _mm512_set1_epi32(16);
  const __m512i nibble = _mm512_set1_epi32(15);
  for (int c = 0; c < 2; ++c) {
    // The bit of the group at hand is moved to bit 4, group after group.
    __m512i fifth = _mm512_slli_epi32(load16(block.qh + 16 * c), 4);
    for (int pair = 0; pair < 4; ++pair) {
      const __m512i packed = load16(block.qs + 32 * pair + 16 * c);
      const __m512i low =
          _mm512_or_si512(_mm512_and_si512(packed, nibble), _mm512_and_si512(fifth, bit));
      fifth = _mm512_srli_epi32(fifth, 1);
      const __m512i high =
          _mm512_or_si512(_mm512_srli_epi32(packed, 4), _mm512_and_si512(fifth, bit));
      fifth = _mm512_srli_epi32(fifth, 1);
      float* to = out + 64 * pair + 16 * c;
      _mm512_storeu_ps(
          to, scaled_plus(scales[2 * pair], _mm512_cvtepi32_ps(low), scales[8 + 2 * pair]));
      _mm512_storeu_ps(to + 32, scaled_plus(scales[2 * pair + 1], _mm512_cvtepi32_ps(high),
                                            scales[8 + 2 * pair + 1]));
    }
  }
}

void decode_block(const BlockQ6_K& block, float* out) {
  const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.scales));
  const GroupScales scales =
      stored(scaled(_cvtsh_ss(block.d), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(packed))));
  const __m512i low_bits = _mm512_set1_epi32(15);
  const __m512i high_bits = _mm512_set1_epi32(0x30);
  for (int h = 0; h < 2; ++h) {
    for (int c = 0; c < 2; ++c) {
      const __m512i first = load16(block.ql + 64 * h + 16 * c);
      const __m512i second = load16(block.ql + 64 * h + 32 + 16 * c);
      const __m512i low[4] = {first, second, _mm512_srli_epi32(first, 4),
                              _mm512_srli_epi32(second, 4)};
      __m512i qh = _mm512_slli_epi32(load16(block.qh + 32 * h + 16 * c), 4);
      for (int s = 0; s < 4; ++s) {
        const int group = 8 * h + 2 * s + c;
        const __m512i q =
            _mm512_or_si512(_mm512_and_si512(low[s], low_bits), _mm512_and_si512(qh, high_bits));
        const __m512i shifted = _mm512_sub_epi32(q, _mm512_set1_epi32(32));
        _mm512_storeu_ps(out + 16 * group, scaled(scales[group], _mm512_cvtepi32_ps(shifted)));
        qh = _mm512_srli_epi32(qh, 2);
      }
    }
  }
}

void decode_block(const BlockIQ4_NL& block, float* out) {
  const __m512 table = scaled(_cvtsh_ss(block.d), as_floats(kIQ4Values));
  store_nibbles(block.qs, table, table, out, out + 16);
}

void decode_block(const BlockIQ4_XS& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const __m512 values = as_floats(kIQ4Values);
  for (int group = 0; group < 8; ++group) {
    const float scale =
        d * static_cast<float>(iq4_xs_scale(block.scales_l, block.scales_h, group) - 32);
    const __m512 table = scaled(scale, values);
    float* to = out + 32 * group;
    store_nibbles(block.qs + 16 * group, table, table, to, to + 16);
  }
}

void decode_block(const BlockMXFP4& block, float* out) {
  const auto d = std::bit_cast<float>(mxfp4_scale_bits(block.e));
  const __m512 table = scaled(d, as_floats(kFP4Doubled));
  store_nibbles(block.qs, table, table, out, out + 16);
}

template <typename Block, int kBlockElements>
void decode_blocks(const std::byte* bytes, std::int64_t elements, float* out) {
  const auto* block = reinterpret_cast<const Block*>(bytes);
  for (std::int64_t i = 0; i < elements; i += kBlockElements) decode_block(*block++, out + i);
}

/// The first `count` lanes, at most all sixteen.
__mmask16 first_lanes(std::int64_t count) {
  return count >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1U << count) - 1);
}

// Whole vectors apart from the last part: a masked store keeps the loads that follow it waiting.
template <typename Widen>
void decode_halves(const std::byte* bytes, std::int64_t elements, float* out, const Widen& widen) {
  std::int64_t i = 0;
  for (; i + 16 <= elements; i += 16) {
    const auto* const from = reinterpret_cast<const __m256i*>(bytes + 2 * i);
    _mm512_storeu_ps(out + i, widen(_mm256_loadu_si256(from)));
  }
  if (i == elements) return;
  const __mmask16 lanes = first_lanes(elements - i);
  _mm512_mask_storeu_ps(out + i, lanes, widen(_mm256_maskz_loadu_epi16(lanes, bytes + 2 * i)));
}

void decode_f16(const std::byte* bytes, std::int64_t elements, float* out) {
  decode_halves(bytes, elements, out, [](__m256i bits) { return _mm512_cvtph_ps(bits); });
}

void decode_bf16(const std::byte* bytes, std::int64_t elements, float* out) {
  decode_halves(bytes, elements, out, [](__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  });
}

void encode_f16(const float* values, std::int64_t elements, std::byte* bytes) {
  for (std::int64_t i = 0; i < elements; i += 16) {
    const __mmask16 lanes = first_lanes(elements - i);
    const __m512 v = _mm512_maskz_loadu_ps(lanes, values + i);
    const __m256i bits = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
    // Every NaN becomes the one the reference writes: sign, then 0x7E00.
    const __mmask16 is_nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const __m256i plain = _mm256_and_si256(bits, _mm256_set1_epi16(static_cast<short>(0xFE00)));
    _mm256_mask_storeu_epi16(bytes + 2 * i, lanes, _mm256_mask_mov_epi16(bits, is_nan, plain));
  }
}

void encode_bf16(const float* values, std::int64_t elements, std::byte* bytes) {
  for (std::int64_t i = 0; i < elements; i += 16) {
    const __mmask16 lanes = first_lanes(elements - i);
    const __m512 v = _mm512_maskz_loadu_ps(lanes, values + i);
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const __m512i result = _mm512_mask_or_epi32(rounded, is_nan, upper, _mm512_set1_epi32(0x40));
    _mm256_mask_storeu_epi16(bytes + 2 * i, lanes, _mm512_cvtepi32_epi16(result));
  }
}

}  // namespace

DecodePath decode_path(DType dtype) {
  switch (dtype) {
    case DType::kF16: return decode_f16;
    case DType::kBF16: return decode_bf16;
    case DType::kQ4_0: return decode_blocks<BlockQ4_0, kSmallBlock>;
    case DType::kQ4_1: return decode_blocks<BlockQ4_1, kSmallBlock>;
    case DType::kQ5_0: return decode_blocks<BlockQ5_0, kSmallBlock>;
    case DType::kQ5_1: return decode_blocks<BlockQ5_1, kSmallBlock>;
    case DType::kQ8_0: return decode_blocks<BlockQ8_0, kSmallBlock>;
    case DType::kQ2_K: return decode_blocks<BlockQ2_K, kSuperBlock>;
    case DType::kQ3_K: return decode_blocks<BlockQ3_K, kSuperBlock>;
    case DType::kQ4_K: return decode_blocks<BlockQ4_K, kSuperBlock>;
    case DType::kQ5_K: return decode_blocks<BlockQ5_K, kSuperBlock>;
    case DType::kQ6_K: return decode_blocks<BlockQ6_K, kSuperBlock>;
    case DType::kIQ4_NL: return decode_blocks<BlockIQ4_NL, kSmallBlock>;
    case DType::kIQ4_XS: return decode_blocks<BlockIQ4_XS, kSuperBlock>;
    case DType::kMXFP4: return decode_blocks<BlockMXFP4, kSmallBlock>;
    default: return nullptr;  // the 8-bit floats: AVX2 is fast enough for what is rare
  }
}

EncodePath encode_path(DType dtype) {
  switch (dtype) {
    case DType::kF16: return encode_f16;
    case DType::kBF16: return encode_bf16;
    default: return nullptr;
  }
}

}  // namespace shoehorn::avx512
