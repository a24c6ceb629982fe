// Dot products of rows of int8 activations with four-bit weights, 32 packed bytes, a run of 64
// values, at a time: a shuffle looks 32 codes up. The products of bytes want one operand without a
// sign, so x gives its magnitudes and moves its signs to the codes; two products of at most 127 ·
// 127 fit the 16 bits that they are added in.
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/four_bit_avx2.h"
#include "kernels/four_bit_streams.h"
#include "kernels/linear_four_bit_int8_paths.h"

namespace shoehorn::avx2 {
namespace {

using four_bit::Ahead;
using four_bit::dot_streams;
using four_bit::Rows;

constexpr std::int64_t kRunBytes = kInt8Run / 2;

// A run of a row of x: even values, then odd ones.
struct alignas(32) Run {
  std::int8_t codes[2][32];
  std::uint8_t magnitudes[2][32];
  float scale;
  float padding[7];
};
static_assert(sizeof(Run) == 160);

std::int64_t row_bytes(std::int64_t k) {
  const auto bytes = k / kInt8Run * static_cast<std::int64_t>(sizeof(Run));
  return (bytes + 63) / 64 * 64;
}

// max |x| over a run; NaN where a value is: as integers, magnitudes have the order of the numbers
// and NaN is above them all.
float largest_magnitude(const float* x) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < 8; ++i) {
    const __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(x + i * kLanes));
    largest = _mm256_max_epu32(largest, _mm256_and_si256(bits, magnitude));
  }
  __m128i half =
      _mm_max_epu32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  half = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0x4E));
  half = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0xB1));
  return _mm_cvtss_f32(_mm_castsi128_ps(half));
}

// 32 values as codes: the even ones in the lower half.
__m256i codes_of(const float* x, __m256 factor) {
  __m256i values[4];
  for (int i = 0; i < 4; ++i) {
    values[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i * kLanes), factor));
  }
  // Packing works in each half apart, and leaves dwords of four codes in the order 0 2 4 6 1 3 5 7.
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(values[0], values[1]),
                                           _mm256_packs_epi32(values[2], values[3]));
  const __m256i ordered =
      _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  const __m256i evens_first =
      _mm256_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12,
                       14, 1, 3, 5, 7, 9, 11, 13, 15);
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(ordered, evens_first), 0xD8);
}

void quantize_run(const float* x, Run& run) {
  const float largest = largest_magnitude(x);
  const bool finite = largest <= 3.4028235e38F;
  const float factor = finite && largest >= kLeastActivation ? 127.0F / largest : 0.0F;
  run.scale = !finite ? NAN : factor == 0 ? 0.0F : largest * kInt8Step;
  // Not x · 0: that would be NaN for infinity, and NaN no code.
  const __m256i mask = _mm256_set1_epi32(factor == 0 ? 0 : -1);
  const __m256 factors = _mm256_set1_ps(factor);
  const __m256i low = codes_of(x, factors);
  const __m256i high = codes_of(x + 32, factors);
  const __m256i halves[2] = {_mm256_permute2x128_si256(low, high, 0x20),
                             _mm256_permute2x128_si256(low, high, 0x31)};
  for (int i = 0; i < 2; ++i) {
    const __m256i codes = _mm256_and_si256(halves[i], mask);
    _mm256_store_si256(reinterpret_cast<__m256i*>(run.codes[i]), codes);
    _mm256_store_si256(reinterpret_cast<__m256i*>(run.magnitudes[i]), _mm256_abs_epi8(codes));
  }
}

void quantize(const float* x, std::int64_t k, std::byte* out) {
  for (std::int64_t at = 0; at < k; at += kInt8Run, out += sizeof(Run)) {
    quantize_run(x + at, *reinterpret_cast<Run*>(out));
  }
}

struct Kernel {
  const FourBitDotJob& job;
  const std::byte* x;
  __m256i table;
  float unit;
  int shift;  // of the blocksize
  std::int64_t ldx;

  Kernel(const FourBitDotJob& job, const FourBitInt8Codes& codes, const std::byte* x)
      : job(job),
        x(x),
        table(_mm256_broadcastsi128_si256(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes.codes)))),
        unit(codes.unit),
        shift(__builtin_ctzll(static_cast<unsigned long long>(job.parts.blocksize))),
        ldx(row_bytes(job.k)) {}

  static void unnest(const FourBitParts& parts, std::int64_t first, std::int64_t count,
                     float* out) {
    unnest_absmax(parts, first, count, out);
  }

  static __m256i products(__m256i weights, const Run& run, int half) {
    const __m256i codes = _mm256_load_si256(reinterpret_cast<const __m256i*>(run.codes[half]));
    const __m256i magnitudes =
        _mm256_load_si256(reinterpret_cast<const __m256i*>(run.magnitudes[half]));
    const __m256i pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(weights, codes));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }

  template <int R, int M>
  void dot(const Rows<R>& rows, std::int64_t first_row, const Ahead& ahead,
           float (&results)[R][M]) const {
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256 acc[R][M];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) acc[r][m] = _mm256_setzero_ps();
    }
    const std::byte* inputs = x + first_row * ldx;
    for (std::int64_t at = 0; at < job.k / 2; at += kRunBytes, inputs += sizeof(Run)) {
      const std::int64_t distance = at < ahead.last_byte ? ahead.bytes : 0;
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        __builtin_prefetch(rows.packed[r] + at + distance, 0, 3);
        const __m256i bytes =
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows.packed[r] + at));
        const __m256i even =
            _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble));
        const __m256i odd = _mm256_shuffle_epi8(table, _mm256_and_si256(bytes, nibble));
        const __m256 absmax = _mm256_broadcast_ss(rows.absmax[r] + (2 * at >> shift));
#pragma GCC unroll 4
        for (int m = 0; m < M; ++m) {
          const Run& run = *reinterpret_cast<const Run*>(inputs + m * ldx);
          const __m256i sums = _mm256_add_epi32(products(even, run, 0), products(odd, run, 1));
          const __m256 scale = _mm256_mul_ps(absmax, _mm256_broadcast_ss(&run.scale));
          acc[r][m] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, acc[r][m]);
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) results[r][m] = reduce_add(acc[r][m]) * unit;
    }
  }
};

void dot(const FourBitDotJob& job, const FourBitInt8Codes& codes, const std::byte* x,
         std::int64_t begin, std::int64_t end, float* scratch) {
  const Kernel kernel(job, codes, x);
  // Sixteen running sums would fill the registers.
  if (job.rows == 1) {
    dot_streams<4>(kernel, begin, end, scratch);
  } else {
    dot_streams<2>(kernel, begin, end, scratch);
  }
}

}  // namespace

const FourBitInt8DotPath kFourBitInt8Dot = {
    .row_bytes = row_bytes, .quantize = quantize, .dot = dot};

}  // namespace shoehorn::avx2
