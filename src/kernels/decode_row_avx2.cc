// decode_row and encode_row eight values at a time. Blocks: sixteen quants are brought to signed
// bytes, then widened, scaled and stored; multiply and add stay apart, as the reference rounds
// both.
#include <bit>
#include <cstring>

#include <immintrin.h>

#include "kernels/decode_row_paths.h"
#include "quant/ggml_blocks.h"

namespace shoehorn::avx2 {
namespace {

using namespace quant;  // NOLINT(google-build-using-namespace): the block structs

__m128i load16(const std::uint8_t* bytes) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

/// The low and the high four bits of sixteen bytes.
__m128i low_nibbles(__m128i bytes) {
  return _mm_and_si128(bytes, _mm_set1_epi8(15));
}
__m128i high_nibbles(__m128i bytes) {
  return _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
}

/// `value` in the bytes whose bit is set in `bits` (bit i belongs to byte i), 0 in the others.
__m128i bytes_of_bits(std::uint16_t bits, char value) {
  const __m128i spread = _mm_shuffle_epi8(
      _mm_cvtsi32_si128(bits), _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  const __m128i each = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  const __m128i set = _mm_cmpeq_epi8(_mm_and_si128(spread, each), each);
  return _mm_and_si128(set, _mm_set1_epi8(value));
}

/// `value` in the bytes that have `bit` set, 0 in the others.
__m128i where_bit(__m128i bytes, int bit, char value) {
  const __m128i mask = _mm_set1_epi8(static_cast<char>(1 << bit));
  return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(bytes, mask), mask), _mm_set1_epi8(value));
}

/// Bits `shift` and `shift` + 1 of sixteen bytes.
__m128i two_bits(__m128i bytes, int shift) {
  return _mm_and_si128(_mm_srl_epi16(bytes, _mm_cvtsi32_si128(shift)), _mm_set1_epi8(3));
}

/// out[i] = scale q[i], sixteen signed bytes q.
void store_scaled(__m128i q, float scale, float* out) {
  const __m256 scales = _mm256_set1_ps(scale);
  const __m256 low = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
  const __m256 high = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(q, q)));
  _mm256_storeu_ps(out, _mm256_mul_ps(scales, low));
  _mm256_storeu_ps(out + 8, _mm256_mul_ps(scales, high));
}

/// out[i] = scale q[i] + offset.
void store_scaled_plus(__m128i q, float scale, float offset, float* out) {
  const __m256 scales = _mm256_set1_ps(scale);
  const __m256 offsets = _mm256_set1_ps(offset);
  const __m256 low = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
  const __m256 high = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(q, q)));
  _mm256_storeu_ps(out, _mm256_add_ps(_mm256_mul_ps(scales, low), offsets));
  _mm256_storeu_ps(out + 8, _mm256_add_ps(_mm256_mul_ps(scales, high), offsets));
}

void decode_block(const BlockQ4_0& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const __m128i bytes = load16(block.qs);
  store_scaled(_mm_sub_epi8(low_nibbles(bytes), _mm_set1_epi8(8)), d, out);
  store_scaled(_mm_sub_epi8(high_nibbles(bytes), _mm_set1_epi8(8)), d, out + 16);
}

void decode_block(const BlockQ4_1& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const float m = _cvtsh_ss(block.m);
  const __m128i bytes = load16(block.qs);
  store_scaled_plus(low_nibbles(bytes), d, m, out);
  store_scaled_plus(high_nibbles(bytes), d, m, out + 16);
}

void decode_block(const BlockQ5_0& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const __m128i bytes = load16(block.qs);
  const std::uint32_t qh = block.qh;
  const __m128i low =
      _mm_or_si128(low_nibbles(bytes), bytes_of_bits(static_cast<std::uint16_t>(qh), 16));
  const __m128i high =
      _mm_or_si128(high_nibbles(bytes), bytes_of_bits(static_cast<std::uint16_t>(qh >> 16), 16));
  store_scaled(_mm_sub_epi8(low, _mm_set1_epi8(16)), d, out);
  store_scaled(_mm_sub_epi8(high, _mm_set1_epi8(16)), d, out + 16);
}

void decode_block(const BlockQ5_1& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const float m = _cvtsh_ss(block.m);
  const __m128i bytes = load16(block.qs);
  const std::uint32_t qh = block.qh;
  const __m128i low =
      _mm_or_si128(low_nibbles(bytes), bytes_of_bits(static_cast<std::uint16_t>(qh), 16));
  const __m128i high =
      _mm_or_si128(high_nibbles(bytes), bytes_of_bits(static_cast<std::uint16_t>(qh >> 16), 16));
  store_scaled_plus(low, d, m, out);
  store_scaled_plus(high, d, m, out + 16);
}

void decode_block(const BlockQ8_0& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const auto* qs = reinterpret_cast<const std::uint8_t*>(block.qs);
  store_scaled(load16(qs), d, out);
  store_scaled(load16(qs + 16), d, out + 16);
}

// In the K types: h half of the block (128 values), s quarter of the half (32 values), c half of
// the quarter (16 values, one group of the types with sixteen).

void decode_block(const BlockQ2_K& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const float dmin = _cvtsh_ss(block.dmin);
  for (int h = 0; h < 2; ++h) {
    for (int c = 0; c < 2; ++c) {
      const __m128i bytes = load16(block.qs + 32 * h + 16 * c);
      for (int s = 0; s < 4; ++s) {
        const int group = 8 * h + 2 * s + c;
        const float scale = d * static_cast<float>(block.scales[group] & 15);
        const float minimum = dmin * static_cast<float>(block.scales[group] >> 4);
        store_scaled_plus(two_bits(bytes, 2 * s), scale, -minimum, out + 16 * group);
      }
    }
  }
}

void decode_block(const BlockQ3_K& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  for (int h = 0; h < 2; ++h) {
    for (int c = 0; c < 2; ++c) {
      const __m128i bytes = load16(block.qs + 32 * h + 16 * c);
      const __m128i hmask = load16(block.hmask + 16 * c);
      for (int s = 0; s < 4; ++s) {
        const int group = 8 * h + 2 * s + c;
        const float scale = d * static_cast<float>(q3_k_scale(block.scales, group) - 32);
        const __m128i q = _mm_or_si128(two_bits(bytes, 2 * s), where_bit(hmask, 4 * h + s, 4));
        store_scaled(_mm_sub_epi8(q, _mm_set1_epi8(4)), scale, out + 16 * group);
      }
    }
  }
}

void decode_block(const BlockQ4_K& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const float dmin = _cvtsh_ss(block.dmin);
  for (int pair = 0; pair < 4; ++pair) {
    const ScaleMin first = k_scale_min(block.scales, 2 * pair);
    const ScaleMin second = k_scale_min(block.scales, 2 * pair + 1);
    for (int c = 0; c < 2; ++c) {
      const __m128i bytes = load16(block.qs + 32 * pair + 16 * c);
      float* to = out + 64 * pair + 16 * c;
      store_scaled_plus(low_nibbles(bytes), d * static_cast<float>(first.scale),
                        -(dmin * static_cast<float>(first.min)), to);
      store_scaled_plus(high_nibbles(bytes), d * static_cast<float>(second.scale),
                        -(dmin * static_cast<float>(second.min)), to + 32);
    }
  }
}

void decode_block(const BlockQ5_K& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const float dmin = _cvtsh_ss(block.dmin);
  for (int pair = 0; pair < 4; ++pair) {
    const ScaleMin first = k_scale_min(block.scales, 2 * pair);
    const ScaleMin second = k_scale_min(block.scales, 2 * pair + 1);
    for (int c = 0; c < 2; ++c) {
      const __m128i bytes = load16(block.qs + 32 * pair + 16 * c);
      const __m128i qh = load16(block.qh + 16 * c);
      const __m128i low = _mm_or_si128(low_nibbles(bytes), where_bit(qh, 2 * pair, 16));
      const __m128i high = _mm_or_si128(high_nibbles(bytes), where_bit(qh, 2 * pair + 1, 16));
      float* to = out + 64 * pair + 16 * c;
      store_scaled_plus(low, d * static_cast<float>(first.scale),
                        -(dmin * static_cast<float>(first.min)), to);
      store_scaled_plus(high, d * static_cast<float>(second.scale),
                        -(dmin * static_cast<float>(second.min)), to + 32);
    }
  }
}

void decode_block(const BlockQ6_K& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  for (int h = 0; h < 2; ++h) {
    for (int c = 0; c < 2; ++c) {
      const __m128i first = load16(block.ql + 64 * h + 16 * c);
      const __m128i second = load16(block.ql + 64 * h + 32 + 16 * c);
      const __m128i qh = load16(block.qh + 32 * h + 16 * c);
      const __m128i low[4] = {low_nibbles(first), low_nibbles(second), high_nibbles(first),
                              high_nibbles(second)};
      for (int s = 0; s < 4; ++s) {
        const int group = 8 * h + 2 * s + c;
        const float scale = d * static_cast<float>(block.scales[group]);
        const __m128i q = _mm_or_si128(low[s], _mm_slli_epi16(two_bits(qh, 2 * s), 4));
        store_scaled(_mm_sub_epi8(q, _mm_set1_epi8(32)), scale, out + 16 * group);
      }
    }
  }
}

void decode_block(const BlockIQ4_NL& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&kIQ4Values));
  const __m128i bytes = load16(block.qs);
  store_scaled(_mm_shuffle_epi8(table, low_nibbles(bytes)), d, out);
  store_scaled(_mm_shuffle_epi8(table, high_nibbles(bytes)), d, out + 16);
}

void decode_block(const BlockIQ4_XS& block, float* out) {
  const float d = _cvtsh_ss(block.d);
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&kIQ4Values));
  for (int group = 0; group < 8; ++group) {
    const float scale =
        d * static_cast<float>(iq4_xs_scale(block.scales_l, block.scales_h, group) - 32);
    const __m128i bytes = load16(block.qs + 16 * group);
    store_scaled(_mm_shuffle_epi8(table, low_nibbles(bytes)), scale, out + 32 * group);
    store_scaled(_mm_shuffle_epi8(table, high_nibbles(bytes)), scale, out + 32 * group + 16);
  }
}

void decode_block(const BlockMXFP4& block, float* out) {
  const auto d = std::bit_cast<float>(mxfp4_scale_bits(block.e));
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&kFP4Doubled));
  const __m128i bytes = load16(block.qs);
  store_scaled(_mm_shuffle_epi8(table, low_nibbles(bytes)), d, out);
  store_scaled(_mm_shuffle_epi8(table, high_nibbles(bytes)), d, out + 16);
}

template <typename Block, int kBlockElements>
void decode_blocks(const std::byte* bytes, std::int64_t elements, float* out) {
  const auto* block = reinterpret_cast<const Block*>(bytes);
  for (std::int64_t i = 0; i < elements; i += kBlockElements) decode_block(*block++, out + i);
}

// Plain types take eight at a time; the last few go through a padded copy.
template <int kBytes, typename Widen>
void decode_eights(const std::byte* bytes, std::int64_t elements, float* out, const Widen& widen) {
  std::int64_t i = 0;
  for (; i + 8 <= elements; i += 8) _mm256_storeu_ps(out + i, widen(bytes + kBytes * i));
  if (i == elements) return;
  std::byte padded[8 * kBytes] = {};
  float last[8];
  std::memcpy(padded, bytes + kBytes * i, static_cast<std::size_t>(elements - i) * kBytes);
  _mm256_storeu_ps(last, widen(padded));
  std::memcpy(out + i, last, static_cast<std::size_t>(elements - i) * sizeof(float));
}

void decode_f16(const std::byte* bytes, std::int64_t elements, float* out) {
  decode_eights<2>(bytes, elements, out, [](const std::byte* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  });
}

void decode_bf16(const std::byte* bytes, std::int64_t elements, float* out) {
  decode_eights<2>(bytes, elements, out, [](const std::byte* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  });
}

void decode_f8_e5m2(const std::byte* bytes, std::int64_t elements, float* out) {
  decode_eights<1>(bytes, elements, out, [](const std::byte* from) {
    const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
    return _mm256_cvtph_ps(_mm_unpacklo_epi8(_mm_setzero_si128(), bits));
  });
}

void decode_f8_e4m3(const std::byte* bytes, std::int64_t elements, float* out) {
  decode_eights<1>(bytes, elements, out, [](const std::byte* from) {
    const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
    const __m128i wide = _mm_unpacklo_epi8(_mm_setzero_si128(), bits);  // in the upper byte
    const __m128i sign = _mm_and_si128(wide, _mm_set1_epi16(static_cast<short>(0x8000)));
    const __m128i magnitude = _mm_and_si128(wide, _mm_set1_epi16(0x7F00));
    const __m128i nan = _mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7F00));
    const __m128i half = _mm_or_si128(_mm_srli_epi16(magnitude, 1), sign);
    const __m128i fields = _mm_or_si128(half, _mm_and_si128(nan, _mm_set1_epi16(0x7E00)));
    return _mm256_mul_ps(_mm256_cvtph_ps(fields), _mm256_set1_ps(256.0F));
  });
}

// One vector of encoded halves; the last few values go through a padded copy.
template <typename Narrow>
void encode_eights(const float* values, std::int64_t elements, std::byte* bytes,
                   const Narrow& narrow) {
  std::int64_t i = 0;
  for (; i + 8 <= elements; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + 2 * i),
                     narrow(_mm256_loadu_ps(values + i)));
  }
  if (i == elements) return;
  float padded[8] = {};
  std::byte last[16];
  std::memcpy(padded, values + i, static_cast<std::size_t>(elements - i) * sizeof(float));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(last), narrow(_mm256_loadu_ps(padded)));
  std::memcpy(bytes + 2 * i, last, static_cast<std::size_t>(elements - i) * 2);
}

/// The low halves of eight 32-bit lanes.
__m128i low_halves(__m256i lanes) {
  return _mm_packus_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
}

void encode_f16(const float* values, std::int64_t elements, std::byte* bytes) {
  encode_eights(values, elements, bytes, [](__m256 v) {
    const __m128i bits = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
    // Every NaN becomes the one the reference writes: sign, then 0x7E00.
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m128i nan =
        _mm_packs_epi32(_mm256_castsi256_si128(is_nan), _mm256_extracti128_si256(is_nan, 1));
    const __m128i plain = _mm_and_si128(bits, _mm_set1_epi16(static_cast<short>(0xFE00)));
    return _mm_blendv_epi8(bits, plain, nan);
  });
}

void encode_bf16(const float* values, std::int64_t elements, std::byte* bytes) {
  encode_eights(values, elements, bytes, [](__m256 v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF))), 16);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    return low_halves(_mm256_blendv_epi8(rounded, quiet, is_nan));
  });
}

}  // namespace

DecodePath decode_path(DType dtype) {
  switch (dtype) {
    case DType::kF16: return decode_f16;
    case DType::kBF16: return decode_bf16;
    case DType::kF8E4M3: return decode_f8_e4m3;
    case DType::kF8E5M2: return decode_f8_e5m2;
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
    default: return nullptr;  // F32 and F64: the reference is a copy, or as fast
  }
}

EncodePath encode_path(DType dtype) {
  switch (dtype) {
    case DType::kF16: return encode_f16;
    case DType::kBF16: return encode_bf16;
    default: return nullptr;
  }
}

}  // namespace shoehorn::avx2
