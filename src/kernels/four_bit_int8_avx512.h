// What the AVX-512 and AMX kernels for int8 activations share: quantizing a run of x, packing
// panels of it, unpacking weights, writing results. Static, as vector_avx512.h says why.
#pragma once

#include <cmath>
#include <cstdint>

#include <immintrin.h>

#include "kernels/four_bit_avx512.h"
#include "kernels/linear_four_bit_int8_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {

// A run of 64 values as codes, the even ones in vectors 0 and 1, and its scale a / 127.
struct QuantizedRun {
  __m128i codes[4];
  float scale;
};

static inline QuantizedRun quantize_run(const float* x) {
  __m512 values[4];
  __m512i largest_bits = _mm512_setzero_si512();
  for (int i = 0; i < 4; ++i) {
    values[i] = _mm512_loadu_ps(x + i * kLanes);
    // As integers, magnitudes have the order of the numbers, and NaN is above them all.
    largest_bits = _mm512_max_epu32(largest_bits, _mm512_and_si512(_mm512_castps_si512(values[i]),
                                                                   _mm512_set1_epi32(0x7FFFFFFF)));
  }
  const int bits = static_cast<int>(_mm512_reduce_max_epu32(largest_bits));
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
  const bool finite = largest <= 3.4028235e38F;
  const float factor = finite && largest >= kLeastActivation ? 127.0F / largest : 0.0F;
  const __m512i evens =
      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
  // Not x · 0: that would be NaN for infinity, and NaN no code.
  const __mmask16 lanes = factor == 0 ? 0 : 0xFFFF;
  const __m512 factors = _mm512_set1_ps(factor);
  const auto codes = [&](__m512 low, __m512i order, __m512 high) {
    const __m512 ordered = _mm512_permutex2var_ps(low, order, high);
    return _mm512_cvtepi32_epi8(_mm512_maskz_cvtps_epi32(lanes, _mm512_mul_ps(ordered, factors)));
  };
  QuantizedRun run;
  run.codes[0] = codes(values[0], evens, values[1]);
  run.codes[1] = codes(values[2], evens, values[3]);
  run.codes[2] = codes(values[0], odds, values[1]);
  run.codes[3] = codes(values[2], odds, values[3]);
  run.scale = !finite ? NAN : factor == 0 ? 0.0F : largest * kInt8Step;
  return run;
}

static inline __m512i joined(const QuantizedRun& run) {
  const __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(run.codes[0]), run.codes[1], 1);
  return _mm512_inserti32x4(_mm512_inserti32x4(low, run.codes[2], 2), run.codes[3], 3);
}

// -128 times the sum of signed bytes: what weights that are 128 too large have added too much.
static inline std::int32_t offset_of(__m512i codes) {
  const __m512i flipped = _mm512_xor_si512(codes, _mm512_set1_epi8(-128));
  const __m512i sums = _mm512_sad_epu8(flipped, _mm512_setzero_si512());
  return -128 * (static_cast<std::int32_t>(_mm512_reduce_add_epi64(sums)) - 64 * 128);
}

// FourBitInt8GemmPath::pack.
static inline void pack_panel(const float* x, std::int64_t ldx, std::int64_t rows,
                              std::int64_t runs, Int8PanelRun* panel) {
  for (std::int64_t r = 0; r < runs; ++r) {
    Int8PanelRun& out = panel[r];
    __m512 block[16];
    for (std::int64_t m = 0; m < kInt8TileRows; ++m) {
      if (m >= rows) {
        block[m] = _mm512_setzero_ps();
        out.scale[m] = 0;
        out.offset[m] = 0;
        continue;
      }
      const QuantizedRun run = quantize_run(x + m * ldx + r * kInt8Run);
      const __m512i codes = joined(run);
      block[m] = _mm512_castsi512_ps(codes);
      out.scale[m] = run.scale;
      out.offset[m] = offset_of(codes);
    }
    transpose(block);
    for (int i = 0; i < 16; ++i) {
      _mm512_store_si512(out.codes[i], _mm512_castps_si512(block[i]));
    }
  }
}

// FourBitInt8GemmPath::unpack with `bias` added to each code.
static inline void unpack_rows(const std::uint8_t* packed, std::int64_t row_bytes,
                               std::int64_t count, std::int64_t runs, std::int64_t ahead,
                               const FourBitInt8Codes& codes, int bias, Int8TileRun* out) {
  const __m128i biased =
      _mm_add_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes.codes)),
                   _mm_set1_epi8(static_cast<char>(bias)));
  const __m256i table = _mm256_broadcastsi128_si256(biased);
  const __m256i nibble = _mm256_set1_epi8(15);
  for (std::int64_t n = 0; n < count; ++n) {
    const std::uint8_t* const row = packed + n * row_bytes;
    Int8TileRun* const tiles = out + n / kInt8TileRows * kInt8GroupRuns;
    for (std::int64_t r = 0; r < runs; ++r) {
      const std::uint8_t* const from = row + r * (kInt8Run / 2);
      if (ahead != 0 && r % 2 == 0) {
        _mm_prefetch(reinterpret_cast<const char*>(from + ahead), _MM_HINT_T0);
      }
      const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
      const __m256i even =
          _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble));
      const __m256i odd = _mm256_shuffle_epi8(table, _mm256_and_si256(bytes, nibble));
      std::int8_t* const to = tiles[r].codes[n % kInt8TileRows];
      _mm256_store_si256(reinterpret_cast<__m256i*>(to), even);
      _mm256_store_si256(reinterpret_cast<__m256i*>(to + 32), odd);
    }
  }
}

// FourBitInt8GemmPath::store.
static inline void store_rows(const float* c, std::int64_t outputs, std::int64_t rows, float unit,
                              const float* bias, bool accumulate, float* y, std::int64_t ldy) {
  for (std::int64_t n0 = 0; n0 < outputs; n0 += kLanes) {
    const std::int64_t columns = outputs - n0 < kLanes ? outputs - n0 : kLanes;
    const __mmask16 lanes = first_lanes(columns);
    const __m512 offsets =
        bias != nullptr ? _mm512_maskz_loadu_ps(lanes, bias + n0) : _mm512_setzero_ps();
    __m512 block[16];
    for (int n = 0; n < 16; ++n) {
      block[n] = n < columns ? _mm512_loadu_ps(c + (n0 + n) * kInt8TileRows) : _mm512_setzero_ps();
    }
    transpose(block);
    for (std::int64_t m = 0; m < rows; ++m) {
      float* const out = y + m * ldy + n0;
      __m512 value = _mm512_add_ps(_mm512_mul_ps(block[m], _mm512_set1_ps(unit)), offsets);
      if (accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, out), value);
      _mm512_mask_storeu_ps(out, lanes, value);
    }
  }
}

}  // namespace shoehorn::avx512
