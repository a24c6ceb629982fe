// Dot products of a few rows with NF4 and FP4 weights, 64 packed bytes, 128 values, at a time. A
// permutation looks sixteen codes up and reads only the low four bits of an index, so nothing is
// masked: 64 bytes loaded from four successive addresses have each byte of a dword in its low bits
// once, and a shift by four brings up the other half. x is permuted once to match. The sum of a
// chunk is multiplied by the absmax of its blocks.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/four_bit_avx512.h"
#include "kernels/four_bit_streams.h"
#include "kernels/linear_four_bit_paths.h"

namespace shoehorn::avx512 {
namespace {

using four_bit::Ahead;
using four_bit::dot_streams;
using four_bit::Rows;

constexpr std::int64_t kChunk = 128;  // values
constexpr std::int64_t kChunkBytes = 64;

// Blocks: of a chunk.
template <int Blocks>
struct Kernel {
  const FourBitDotJob& job;
  const float* x;
  __m512 table;
  std::int64_t ldx;
  int shift;  // of the blocksize

  Kernel(const FourBitDotJob& job, const float* x)
      : job(job),
        x(x),
        table(_mm512_loadu_ps(job.parts.quant_map)),
        ldx((job.k + kChunk - 1) / kChunk * kChunk),
        shift(__builtin_ctzll(static_cast<unsigned long long>(job.parts.blocksize))) {}

  static void unnest(const FourBitParts& parts, std::int64_t first, std::int64_t count,
                     float* out) {
    unnest_absmax(parts, first, count, out);
  }

  // sums[r][m] = the sum over a chunk of codes times x; a half one has eight dwords.
  template <bool Half, int R, int M>
  void chunk_sums(const Rows<R>& rows, std::int64_t at, const float* inputs,
                  __m512 (&sums)[R][M]) const {
#pragma GCC unroll 4
    for (int byte = 0; byte < 4; ++byte) {
      __m512 high[R];
      __m512 low[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const void* const from = rows.packed[r] + at + byte;
        __m512i words = Half ? _mm512_maskz_loadu_epi32(0xFF, from) : _mm512_loadu_si512(from);
        // One load, not one for each use: three of the four addresses cross a line.
        asm("" : "+v"(words));
        high[r] = _mm512_permutexvar_ps(_mm512_srli_epi32(words, 4), table);
        low[r] = _mm512_permutexvar_ps(words, table);
      }
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        const float* const pair = inputs + m * ldx + 2 * (at + byte * kLanes);
        const __m512 even = _mm512_loadu_ps(pair);
        const __m512 odd = _mm512_loadu_ps(pair + kLanes);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          sums[r][m] =
              byte == 0 ? _mm512_mul_ps(high[r], even) : _mm512_fmadd_ps(high[r], even, sums[r][m]);
          sums[r][m] = _mm512_fmadd_ps(low[r], odd, sums[r][m]);
        }
      }
    }
  }

  template <bool Half, int R, int M>
  void add_chunk(const Rows<R>& rows, std::int64_t at, const float* inputs,
                 __m512 (&acc)[R][M]) const {
    __m512 sums[R][M];
    chunk_sums<Half>(rows, at, inputs, sums);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const float* const absmax = rows.absmax[r] + (2 * at >> shift);
      const __m512 scales =
          Half ? block_scales_of_half<Blocks>(absmax) : block_scales<Blocks>(absmax);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) acc[r][m] = _mm512_fmadd_ps(sums[r][m], scales, acc[r][m]);
    }
  }

  template <int R, int M>
  void dot(const Rows<R>& rows, std::int64_t first_row, const Ahead& ahead,
           float (&results)[R][M]) const {
    const float* const inputs = x + first_row * ldx;
    const std::int64_t bytes = job.k / 2;
    __m512 acc[R][M];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) acc[r][m] = _mm512_setzero_ps();
    }
    std::int64_t at = 0;
    for (; at + kChunkBytes <= bytes; at += kChunkBytes) {
      const std::int64_t distance = at < ahead.last_byte ? ahead.bytes : 0;
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) __builtin_prefetch(rows.packed[r] + at + distance, 0, 3);
      add_chunk<false>(rows, at, inputs, acc);
    }
    if (at < bytes) add_chunk<true>(rows, at, inputs, acc);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) results[r][m] = _mm512_reduce_add_ps(acc[r][m]);
    }
  }
};

template <int Blocks>
void dot_blocks(const FourBitDotJob& job, const float* x, std::int64_t begin, std::int64_t end,
                float* scratch) {
  const Kernel<Blocks> kernel(job, x);
  // Sixteen sums of a chunk and as many running ones would not fit the registers.
  if (job.rows <= 2) {
    dot_streams<4>(kernel, begin, end, scratch);
  } else {
    dot_streams<2>(kernel, begin, end, scratch);
  }
}

void dot(const FourBitDotJob& job, const float* x, std::int64_t begin, std::int64_t end,
         float* scratch) {
  switch (job.parts.blocksize) {
    case 32: return dot_blocks<4>(job, x, begin, end, scratch);
    case 64: return dot_blocks<2>(job, x, begin, end, scratch);
    default: return dot_blocks<1>(job, x, begin, end, scratch);
  }
}

// Vector v of a chunk, lane l: value 8 l + v. An even value lies in the high half of its byte.
void permute(const float* x, std::int64_t k, float* out) {
  const __m512i eights =
      _mm512_setr_epi32(0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120);
  for (std::int64_t at = 0; at < k; at += kChunk, out += kChunk) {
    const __mmask16 lanes = k - at >= kChunk ? 0xFFFF : 0xFF;
    for (int v = 0; v < 8; ++v) {
      _mm512_storeu_ps(out + v * kLanes,
                       _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, eights, x + at + v, 4));
    }
  }
}

}  // namespace

const FourBitDotPath kFourBitDot = {.chunk = kChunk, .permute = permute, .dot = dot};

}  // namespace shoehorn::avx512
