// Dot products of a few rows of int8 activations with four-bit weights, 64 packed bytes, 128
// values, at a time: a shuffle looks 64 codes up, and VNNI adds four products a lane. It wants one
// operand without a sign, so the codes are 128 too large and the sums begin at -128 times the sum
// of x.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/four_bit_int8_avx512.h"
#include "kernels/four_bit_streams.h"
#include "kernels/linear_four_bit_int8_paths.h"

namespace shoehorn::avx512 {
namespace {

using four_bit::Ahead;
using four_bit::dot_streams;
using four_bit::Rows;

constexpr std::int64_t kChunk = 2 * kInt8Run;
constexpr std::int64_t kChunkBytes = kChunk / 2;

// Two runs of a row of x, as 64 packed bytes hold them.
struct alignas(64) Chunk {
  std::int8_t even[2][32];
  std::int8_t odd[2][32];
  std::int32_t offset[2][8];  // of a run in its first lane
  float scale[2][8];
};
static_assert(sizeof(Chunk) == 256);

std::int64_t row_bytes(std::int64_t k) {
  return (k + kChunk - 1) / kChunk * static_cast<std::int64_t>(sizeof(Chunk));
}

void quantize(const float* x, std::int64_t k, std::byte* out) {
  for (std::int64_t at = 0; at < k; at += kChunk, out += sizeof(Chunk)) {
    Chunk& chunk = *reinterpret_cast<Chunk*>(out);
    if (k - at < kChunk) chunk = Chunk{};
    for (int half = 0; half < 2 && at + half * kInt8Run < k; ++half) {
      const QuantizedRun run = quantize_run(x + at + half * kInt8Run);
      auto* const even = reinterpret_cast<__m128i*>(chunk.even[half]);
      auto* const odd = reinterpret_cast<__m128i*>(chunk.odd[half]);
      _mm_store_si128(even, run.codes[0]);
      _mm_store_si128(even + 1, run.codes[1]);
      _mm_store_si128(odd, run.codes[2]);
      _mm_store_si128(odd + 1, run.codes[3]);
      _mm256_store_si256(reinterpret_cast<__m256i*>(chunk.offset[half]),
                         _mm256_setr_epi32(offset_of(joined(run)), 0, 0, 0, 0, 0, 0, 0));
      _mm256_store_ps(chunk.scale[half], _mm256_set1_ps(run.scale));
    }
  }
}

// Blocks: of a chunk.
template <int Blocks>
struct Kernel {
  const FourBitDotJob& job;
  const std::byte* x;
  __m512i table;
  float unit;
  int shift;  // of the blocksize
  std::int64_t ldx;

  Kernel(const FourBitDotJob& job, const FourBitInt8Codes& codes, const std::byte* x)
      : job(job),
        x(x),
        table(_mm512_broadcast_i32x4(_mm_add_epi8(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes.codes)), _mm_set1_epi8(-128)))),
        unit(codes.unit),
        shift(__builtin_ctzll(static_cast<unsigned long long>(job.parts.blocksize))),
        ldx(row_bytes(job.k)) {}

  static void unnest(const FourBitParts& parts, std::int64_t first, std::int64_t count,
                     float* out) {
    unnest_absmax(parts, first, count, out);
  }

  // Adds a chunk to the sums, or half of one at the end of a row.
  template <bool Half, int R, int M>
  void add_chunk(const Rows<R>& rows, std::int64_t at, const std::byte* inputs,
                 __m512 (&acc)[R][M]) const {
    const __m512i nibble = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const void* const from = rows.packed[r] + at;
      const __m512i bytes = Half ? _mm512_maskz_loadu_epi32(0xFF, from) : _mm512_loadu_si512(from);
      const __m512i even =
          _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble));
      const __m512i odd = _mm512_shuffle_epi8(table, _mm512_and_si512(bytes, nibble));
      const float* const absmax = rows.absmax[r] + (2 * at >> shift);
      const __m512 scales =
          Half ? block_scales_of_half<Blocks>(absmax) : block_scales<Blocks>(absmax);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        const Chunk& chunk = *reinterpret_cast<const Chunk*>(inputs + m * ldx);
        __m512i sums = _mm512_load_si512(chunk.offset);
        sums = _mm512_dpbusd_epi32(sums, even, _mm512_load_si512(chunk.even));
        sums = _mm512_dpbusd_epi32(sums, odd, _mm512_load_si512(chunk.odd));
        const __m512 scale = _mm512_mul_ps(scales, _mm512_load_ps(chunk.scale));
        acc[r][m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), scale, acc[r][m]);
      }
    }
  }

  template <int R, int M>
  void dot(const Rows<R>& rows, std::int64_t first_row, const Ahead& ahead,
           float (&results)[R][M]) const {
    __m512 acc[R][M];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) acc[r][m] = _mm512_setzero_ps();
    }
    const std::byte* inputs = x + first_row * ldx;
    const std::int64_t bytes = job.k / 2;
    std::int64_t at = 0;
    for (; at + kChunkBytes <= bytes; at += kChunkBytes, inputs += sizeof(Chunk)) {
      const std::int64_t distance = at < ahead.last_byte ? ahead.bytes : 0;
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) __builtin_prefetch(rows.packed[r] + at + distance, 0, 3);
      add_chunk<false>(rows, at, inputs, acc);
    }
    if (at < bytes) add_chunk<true>(rows, at, inputs, acc);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) results[r][m] = _mm512_reduce_add_ps(acc[r][m]) * unit;
    }
  }
};

void dot(const FourBitDotJob& job, const FourBitInt8Codes& codes, const std::byte* x,
         std::int64_t begin, std::int64_t end, float* scratch) {
  if (job.parts.blocksize == kInt8Run) {
    dot_streams<4>(Kernel<2>(job, codes, x), begin, end, scratch);
  } else {
    dot_streams<4>(Kernel<1>(job, codes, x), begin, end, scratch);
  }
}

}  // namespace

const FourBitInt8DotPath kFourBitInt8Dot = {
    .row_bytes = row_bytes, .quantize = quantize, .dot = dot};

}  // namespace shoehorn::avx512
