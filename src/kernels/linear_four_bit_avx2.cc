// Dot products of a few rows with NF4 and FP4 weights, 32 packed bytes, 64 values, at a time. x is
// permuted once to match how codes are looked up (four_bit_avx2.h). linear_four_bit_avx512.cc is
// its twin.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/four_bit_avx2.h"
#include "kernels/four_bit_streams.h"
#include "kernels/linear_four_bit_paths.h"

namespace shoehorn::avx2 {
namespace {

using four_bit::Ahead;
using four_bit::dot_streams;
using four_bit::Rows;

constexpr std::int64_t kChunk = 64;  // values
constexpr std::int64_t kChunkBytes = 32;

// A chunk is two blocks of 32, the lower and the upper half of the lanes, or lies in one block.
template <int Blocks>
struct Kernel {
  const FourBitDotJob& job;
  const float* x;
  FourBitTables tables;
  int shift;  // of the blocksize

  Kernel(const FourBitDotJob& job, const float* x)
      : job(job),
        x(x),
        tables(job.parts.quant_map),
        shift(__builtin_ctzll(static_cast<unsigned long long>(job.parts.blocksize))) {}

  static void unnest(const FourBitParts& parts, std::int64_t first, std::int64_t count,
                     float* out) {
    unnest_absmax(parts, first, count, out);
  }

  static __m256 block_scales(const float* absmax) {
    if (Blocks == 1) return _mm256_broadcast_ss(absmax);
    return _mm256_set_m128(_mm_broadcast_ss(absmax + 1), _mm_broadcast_ss(absmax));
  }

  // sums[m] = the sum over a chunk of codes times x.
  template <int M>
  void chunk_sums(const std::uint8_t* packed, const float* inputs, __m256 (&sums)[M]) const {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(packed));
    const __m256i indices[2] = {_mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble),
                                _mm256_and_si256(bytes, nibble)};
    __m256 parts[2][M];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m256 values[4];
      tables.look_up(indices[half], values);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        const float* const from = inputs + m * job.k + half * (kChunk / 2);
        parts[half][m] = _mm256_mul_ps(values[0], _mm256_loadu_ps(from));
#pragma GCC unroll 4
        for (int q = 1; q < 4; ++q) {
          parts[half][m] =
              _mm256_fmadd_ps(values[q], _mm256_loadu_ps(from + q * kLanes), parts[half][m]);
        }
      }
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) sums[m] = _mm256_add_ps(parts[0][m], parts[1][m]);
  }

  template <int R, int M>
  void dot(const Rows<R>& rows, std::int64_t first_row, const Ahead& ahead,
           float (&results)[R][M]) const {
    __m256 acc[R][M];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) acc[r][m] = _mm256_setzero_ps();
    }
    for (std::int64_t at = 0; at < job.k / 2; at += kChunkBytes) {
      const std::int64_t distance = at < ahead.last_byte ? ahead.bytes : 0;
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        __builtin_prefetch(rows.packed[r] + at + distance, 0, 2);
        __m256 sums[M];
        chunk_sums<M>(rows.packed[r] + at, x + first_row * job.k + 2 * at, sums);
        const __m256 scales = block_scales(rows.absmax[r] + (2 * at >> shift));
#pragma GCC unroll 4
        for (int m = 0; m < M; ++m) acc[r][m] = _mm256_fmadd_ps(sums[m], scales, acc[r][m]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) results[r][m] = reduce_add(acc[r][m]);
    }
  }
};

void dot(const FourBitDotJob& job, const float* x, std::int64_t begin, std::int64_t end,
         float* scratch) {
  if (job.parts.blocksize == 32) {
    dot_streams<4>(Kernel<2>(job, x), begin, end, scratch);
  } else {
    dot_streams<4>(Kernel<1>(job, x), begin, end, scratch);
  }
}

// Even values, which lie in the high halves of bytes, first; then as look_up() gives them.
void permute(const float* x, std::int64_t k, float* out) {
  for (std::int64_t at = 0; at < k; at += kChunk) {
    for (int half = 0; half < 2; ++half) {
      for (int byte = 0; byte < kChunkBytes; ++byte) {
        const int vector = byte % 16 / 4;
        const int lane = byte % 4 + byte / 16 * 4;
        out[at + half * (kChunk / 2) + vector * kLanes + lane] = x[at + 2 * byte + half];
      }
    }
  }
}

}  // namespace

const FourBitDotPath kFourBitDot = {.chunk = kChunk, .permute = permute, .dot = dot};

}  // namespace shoehorn::avx2
