// Dot products of a few rows with rows of GGUF blocks, sixteen values at a time, with no decoded
// row in memory. As in linear_dot_avx512.cc four rows of W run side by side, far apart, and lines
// are asked for well ahead of their use. linear_gguf_blocks_avx512.h says how blocks become floats.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_gguf_blocks_avx512.h"
#include "kernels/linear_gguf_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {
namespace {

// How far ahead of its use a row's line is asked for.
constexpr std::int64_t kAheadBytes = 2048;
// Rows of x at a time: with four rows of W, sixteen sums.
constexpr int kMostRowsAtOnce = 4;

// Rows of W that run side by side are heads of streams of rows in a row: see linear_dot_avx512.cc.
struct Streams {
  std::int64_t rows = 0;   // between two streams
  std::int64_t bytes = 0;  // the same, in bytes
};

// Where the lines to prefetch are, in bytes from the one in use.
struct Ahead {
  std::int64_t bytes = 0;
  std::int64_t last_byte = 0;  // of the row, from which on nothing is: zero bytes ahead is free
};

void prefetch_start(const std::byte* row, std::int64_t bytes) {
  for (std::int64_t at = 0; at < bytes; at += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(row + at), _MM_HINT_T1);
  }
}

// R rows of W, from a chunk's start on.
template <typename Steps, int R>
struct Rows {
  using Block = typename Steps::Block;
  const std::byte* first;
  std::int64_t stream_bytes;

  const Block* blocks(int r, std::int64_t at) const {
    return reinterpret_cast<const Block*>(first + r * stream_bytes) + at;
  }
};

template <typename Steps>
int chunk_blocks(std::int64_t left) {
  return static_cast<int>(left < Steps::kChunkBlocks ? left : Steps::kChunkBlocks);
}

// The scales of the chunk at hand of R rows, and those of the next one on their way.
template <typename Steps, int R>
struct RowScales {
  typename Steps::Scales scales[R];
  typename Steps::Raw raw[R] = {};

  void gather(const Rows<Steps, R>& rows, std::int64_t at, std::int64_t blocks) {
    const int count = chunk_blocks<Steps>(blocks - at);
    for (int r = 0; r < R; ++r) Steps::gather(rows.blocks(r, at), count, raw[r]);
  }
  void widen(const Rows<Steps, R>& rows, std::int64_t at) {
    for (int r = 0; r < R; ++r) Steps::widen(rows.blocks(r, at), raw[r], scales[r]);
  }
};

template <int R, int M>
struct Sums {
  static constexpr int kChains = M == 1 ? 2 : 1;
  __m512 at[R][M][kChains];
};

// Step s of R rows, times M rows of x.
template <typename Steps, int R, int M>
[[gnu::always_inline]] inline void add_step(const Rows<Steps, R>& rows, std::int64_t at, int s,
                                            const typename Steps::Scales (&scales)[R],
                                            const float* x, std::int64_t k, Sums<R, M>& sums) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    Steps::step(rows.blocks(r, at), s, scales[r], [&](int offset, __m512 values) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        __m512& sum = sums.at[r][m][offset / 16 % Sums<R, M>::kChains];
        sum = _mm512_fmadd_ps(values, _mm512_loadu_ps(x + m * k + offset), sum);
      }
    });
  }
}

// Sums of R rows of W, from `rows` on, times M rows of x. `next` are the rows that follow.
template <typename Steps, int R, int M>
void dot_group(const Rows<Steps, R>& rows, const Rows<Steps, R>& following, std::int64_t k,
               const float* x, const Ahead& ahead, RowScales<Steps, R>& scales,
               float (&results)[R][M]) {
  // Steps are unrolled four by four; a turn asks for its lines, and for a part of one too many.
  constexpr int kSteps = Steps::kSteps < 4 ? Steps::kSteps : 4;
  constexpr int kTurns = Steps::kSteps / kSteps;
  constexpr int kLines = (Steps::kChunkBlocks * sizeof(typename Steps::Block) / kTurns + 63) / 64;
  constexpr std::int64_t kChunkValues = Steps::kChunkBlocks * Steps::kBlockValues;
  const std::int64_t blocks = k / Steps::kBlockValues;
  Sums<R, M> sums;
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
      for (__m512& sum : sums.at[r][m]) sum = _mm512_setzero_ps();
    }
  }
  for (std::int64_t at = 0; at < blocks; at += Steps::kChunkBlocks) {
    const bool last = at + Steps::kChunkBlocks >= blocks;
    const Rows<Steps, R>& next_rows = last ? following : rows;
    const std::int64_t next_at = last ? 0 : at + Steps::kChunkBlocks;
    scales.gather(next_rows, next_at, blocks);
    const auto byte = at * static_cast<std::int64_t>(sizeof(typename Steps::Block));
    const std::int64_t distance = byte < ahead.last_byte ? ahead.bytes : 0;
    const char* line = reinterpret_cast<const char*>(rows.blocks(0, at)) + distance;
    const float* const x_chunk = x + at / Steps::kChunkBlocks * kChunkValues;
    if (blocks - at >= Steps::kChunkBlocks) {
      for (int turn = 0; turn < kTurns; ++turn) {
#pragma GCC unroll 4
        for (int u = 0; u < kSteps; ++u) {
          const int s = turn * kSteps + u;
#pragma GCC unroll 4
          for (int l = u * kLines / kSteps; l < (u + 1) * kLines / kSteps; ++l) {
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) {
              _mm_prefetch(line + r * rows.stream_bytes + 64 * l, _MM_HINT_T1);
            }
          }
          add_step<Steps, R, M>(rows, at, s, scales.scales, x_chunk, k, sums);
        }
        line += kLines * 64;
      }
    } else {
      const int steps = chunk_blocks<Steps>(blocks - at) * Steps::kSteps / Steps::kChunkBlocks;
      for (int s = 0; s < steps; ++s) {
        add_step<Steps, R, M>(rows, at, s, scales.scales, x_chunk, k, sums);
      }
    }
    scales.widen(next_rows, next_at);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      __m512 sum = sums.at[r][m][0];
      if (Sums<R, M>::kChains == 2) {
        sum = _mm512_add_ps(sum, sums.at[r][m][Sums<R, M>::kChains - 1]);
      }
      results[r][m] = _mm512_reduce_add_ps(sum);
    }
  }
}

template <typename Steps, int R, int M>
void outputs_of_rows(const DotJob& job, std::int64_t n, std::int64_t first_row,
                     const Streams& streams, const Ahead& ahead, std::int64_t next_n,
                     RowScales<Steps, R>& scales) {
  float sums[R][M];
  const auto row_bytes = static_cast<std::int64_t>(job.row_bytes);
  dot_group<Steps, R, M>({job.weight + n * row_bytes, streams.bytes},
                         {job.weight + next_n * row_bytes, streams.bytes}, job.k,
                         job.x + first_row * job.k, ahead, scales, sums);
  for (int m = 0; m < M; ++m) {
    float* y = job.y + (first_row + m) * job.ldy + n;
    const float* bias = job.bias != nullptr ? job.bias + n : nullptr;
    for (int r = 0; r < R; ++r, y += streams.rows) {
      const float value = bias != nullptr ? sums[r][m] + bias[r * streams.rows] : sums[r][m];
      *y = job.accumulate ? *y + value : value;
    }
  }
}

// All rows of x with R rows of W; after the first few, W comes from the nearest cache.
template <typename Steps, int R>
void outputs(const DotJob& job, std::int64_t n, const Streams& streams, const Ahead& ahead,
             std::int64_t next_n, RowScales<Steps, R>& scales) {
  const Ahead none;
  std::int64_t m = 0;
  for (; m + kMostRowsAtOnce <= job.rows; m += kMostRowsAtOnce) {
    const std::int64_t then = m + kMostRowsAtOnce < job.rows ? n : next_n;
    outputs_of_rows<Steps, R, 4>(job, n, m, streams, m == 0 ? ahead : none, then, scales);
  }
  const Ahead& rest = m == 0 ? ahead : none;
  switch (job.rows - m) {
    case 1: outputs_of_rows<Steps, R, 1>(job, n, m, streams, rest, next_n, scales); break;
    case 2: outputs_of_rows<Steps, R, 2>(job, n, m, streams, rest, next_n, scales); break;
    case 3: outputs_of_rows<Steps, R, 3>(job, n, m, streams, rest, next_n, scales); break;
    default: break;
  }
}

// `count` rows of each of R streams, from `begin` on.
template <typename Steps, int R>
void dot_streams(const DotJob& job, std::int64_t begin, std::int64_t count) {
  if (count == 0) return;
  const auto row_bytes = static_cast<std::int64_t>(job.row_bytes);
  const Streams streams{.rows = count, .bytes = count * row_bytes};
  const std::int64_t distance = kAheadBytes < streams.bytes ? kAheadBytes : streams.bytes;
  for (int r = 0; r < R; ++r) {
    prefetch_start(job.weight + begin * row_bytes + r * streams.bytes, distance);
  }
  RowScales<Steps, R> scales;
  const Rows<Steps, R> first{job.weight + begin * row_bytes, streams.bytes};
  if (job.k > 0) {
    scales.gather(first, 0, job.k / Steps::kBlockValues);
    scales.widen(first, 0);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    // What is prefetched must lie in the stream: what follows is another's, or another thread's.
    const std::int64_t last_byte = (count - i) * row_bytes - distance;
    const std::int64_t next_i = i + 1 < count ? i + 1 : i;
    outputs<Steps, R>(job, begin + i, streams, {.bytes = distance, .last_byte = last_byte},
                      begin + next_i, scales);
  }
}

template <typename Steps>
void dot(const DotJob& job, std::int64_t begin, std::int64_t end) {
  const std::int64_t length = (end - begin) / 4;
  dot_streams<Steps, 4>(job, begin, length);
  dot_streams<Steps, 1>(job, begin + 4 * length, end - begin - 4 * length);
}

}  // namespace

DotPath gguf_dot_path(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0: return dot<StepsQ4_0>;
    case DType::kQ4_1: return dot<StepsQ4_1>;
    case DType::kQ5_0: return dot<StepsQ5_0>;
    case DType::kQ5_1: return dot<StepsQ5_1>;
    case DType::kQ8_0: return dot<StepsQ8_0>;
    case DType::kQ4_K: return dot<StepsQ4_K>;
    case DType::kQ5_K: return dot<StepsQ5_K>;
    case DType::kQ6_K: return dot<StepsQ6_K>;
    case DType::kIQ4_NL: return dot<StepsIQ4_NL>;
    default: return nullptr;
  }
}

}  // namespace shoehorn::avx512
