// How GGUF files pack quantized weights: one struct a block, bytes exactly as in the file (ggml's
// types of the same names; PyPI's `gguf` is the reference). Scales are binary16 unless said
// otherwise. The structs are packed: a block may start at any address.
#pragma once

#include <array>
#include <cstdint>

namespace shoehorn::quant {

inline constexpr int kSmallBlock = 32;   // values a block of the Q4_0 .. Q8_0, IQ4_NL, MXFP4 types
inline constexpr int kSuperBlock = 256;  // values a block of the K and IQ4_XS types

/// value[i] = d (q[i] - 8); byte j holds q[j] low and q[j + 16] high, as in all 4-bit types of 32.
struct [[gnu::packed]] BlockQ4_0 {
  std::uint16_t d;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

/// value[i] = d q[i] + m.
struct [[gnu::packed]] BlockQ4_1 {
  std::uint16_t d;
  std::uint16_t m;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

/// value[i] = d (q[i] - 16); bit i of qh is the fifth bit of q[i].
struct [[gnu::packed]] BlockQ5_0 {
  std::uint16_t d;
  std::uint32_t qh;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

/// value[i] = d q[i] + m; bit i of qh is the fifth bit of q[i].
struct [[gnu::packed]] BlockQ5_1 {
  std::uint16_t d;
  std::uint16_t m;
  std::uint32_t qh;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

/// value[i] = q[i] d.
struct [[gnu::packed]] BlockQ8_0 {
  std::uint16_t d;
  std::int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

/// Sixteen groups of 16. Group g: value = (d low(scales[g])) q - dmin high(scales[g]).
/// Two bits a value: bits 2s, 2s + 1 of qs[32 h + l] are value 128 h + 32 s + l.
struct [[gnu::packed]] BlockQ2_K {
  std::uint8_t scales[16];
  std::uint8_t qs[64];
  std::uint16_t d;
  std::uint16_t dmin;
};
static_assert(sizeof(BlockQ2_K) == 84);

/// Sixteen groups of 16. Group g: value = (d (scale6(g) - 32)) q, q in -4..3: two bits as in Q2_K,
/// minus 4 where bit 4 h + s of hmask[l] is clear.
struct [[gnu::packed]] BlockQ3_K {
  std::uint8_t hmask[32];
  std::uint8_t qs[64];
  std::uint8_t scales[12];
  std::uint16_t d;
};
static_assert(sizeof(BlockQ3_K) == 110);

/// Eight groups of 32. Group g: value = (d scale(g)) q - dmin min(g); qs[32 p + l] holds group 2p
/// low and group 2p + 1 high.
struct [[gnu::packed]] BlockQ4_K {
  std::uint16_t d;
  std::uint16_t dmin;
  std::uint8_t scales[12];
  std::uint8_t qs[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

/// As Q4_K; bit g of qh[l] is the fifth bit of value l of group g.
struct [[gnu::packed]] BlockQ5_K {
  std::uint16_t d;
  std::uint16_t dmin;
  std::uint8_t scales[12];
  std::uint8_t qh[32];
  std::uint8_t qs[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

/// Sixteen groups of 16. Group g: value = (d scales[g]) (q - 32). Of value 128 h + 32 s + l the low
/// four bits are in ql[64 h + 32 (s mod 2) + l], high where s >= 2, the upper two are bits 2s,
/// 2s + 1 of qh[32 h + l].
struct [[gnu::packed]] BlockQ6_K {
  std::uint8_t ql[128];
  std::uint8_t qh[64];
  std::int8_t scales[16];
  std::uint16_t d;
};
static_assert(sizeof(BlockQ6_K) == 210);

/// value[i] = d kIQ4Values[q[i]].
struct [[gnu::packed]] BlockIQ4_NL {
  std::uint16_t d;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18);

/// Eight groups of 32. Group g: value = (d (scale6(g) - 32)) kIQ4Values[q]; four low bits of the
/// scale are nibble g of scales_l, two high bits are bits 2g, 2g + 1 of scales_h.
struct [[gnu::packed]] BlockIQ4_XS {
  std::uint16_t d;
  std::uint16_t scales_h;
  std::uint8_t scales_l[4];
  std::uint8_t qs[128];
};
static_assert(sizeof(BlockIQ4_XS) == 136);

/// value[i] = 2^(e - 128) kFP4Doubled[q[i]]: FP4 (e2m1) with an E8M0 scale, OCP microscaling. The
/// table holds twice the FP4 values, so the power of two is half the usual one.
struct [[gnu::packed]] BlockMXFP4 {
  std::uint8_t e;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockMXFP4) == 17);

/// ggml's non-linear 4-bit code book.
inline constexpr std::array<std::int8_t, 16> kIQ4Values = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// Twice the sixteen FP4 (e2m1) values.
inline constexpr std::array<std::int8_t, 16> kFP4Doubled = {0, 1,  2,  3,  4,  6,  8,  12,
                                                            0, -1, -2, -3, -4, -6, -8, -12};

struct ScaleMin {
  std::uint8_t scale;
  std::uint8_t min;
};

/// The 6-bit scale and minimum of group g (0..7) of Q4_K and Q5_K: groups 0..3 are the low six bits
/// of bytes g and g + 4; of groups 4..7 the low four bits share byte g + 4 and the upper two are
/// the top bits of bytes g - 4 and g. Inlined always: files for different instruction sets use it.
[[gnu::always_inline]] constexpr ScaleMin k_scale_min(const std::uint8_t* scales, int g) {
  if (g < 4) {
    return {static_cast<std::uint8_t>(scales[g] & 63),
            static_cast<std::uint8_t>(scales[g + 4] & 63)};
  }
  const int shared = scales[g + 4];
  return {static_cast<std::uint8_t>((shared & 15) | ((scales[g - 4] >> 6) << 4)),
          static_cast<std::uint8_t>((shared >> 4) | ((scales[g] >> 6) << 4))};
}

/// The 6-bit scale (0..63, meant minus 32) of group g (0..15) of Q3_K: the low four bits are nibble
/// g / 8 of byte g mod 8, the upper two are bits 2 (g / 4), + 1 of byte 8 + g mod 4.
[[gnu::always_inline]] constexpr int q3_k_scale(const std::uint8_t* scales, int g) {
  return ((scales[g % 8] >> (4 * (g / 8))) & 15) |
         (((scales[8 + g % 4] >> (2 * (g / 4))) & 3) << 4);
}

/// The 6-bit scale (0..63, meant minus 32) of group g (0..7) of IQ4_XS.
[[gnu::always_inline]] constexpr int iq4_xs_scale(const std::uint8_t* scales_l, int scales_h,
                                                  int g) {
  return ((scales_l[g / 2] >> (4 * (g % 2))) & 15) | (((scales_h >> (2 * g)) & 3) << 4);
}

/// The bits of the float32 2^(e - 128): MXFP4's scale. The first two are subnormal.
[[gnu::always_inline]] constexpr std::uint32_t mxfp4_scale_bits(std::uint8_t e) {
  return e < 2 ? 0x00200000U << e : static_cast<std::uint32_t>(e - 1) << 23;
}

}  // namespace shoehorn::quant
