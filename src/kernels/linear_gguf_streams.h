// How a dot product kernel for GGUF blocks walks over a range of rows: several rows of W side by
// side, far apart, each the head of a stream of rows in a row, so that the memory sees a few long
// sequential reads, with lines asked for well ahead of their use (as linear_dot_avx512.cc has it).
//
// The scales of a block lie between its quants. Those of a chunk of blocks are widened together:
// gathered while the chunk before is summed, because a wide load must wait until narrow stores have
// left for the cache, then widened for the loads that multiply with them.
//
// Templates over a Kernel of an unnamed namespace, so that nothing of them is shared between the
// files of different instruction sets. A Kernel has
//
//   using Steps = ...;  // Block, kBlockValues, kChunkBlocks; Raw, Scales, gather(), widen()
//   template <int R, int M>   // results[r][m] = row r of W times row m of group.x
//   static void sum(const Group<Steps, R>& group, RowScales<Steps, R>& scales,
//                   float (&results)[R][M]);
#pragma once

#include <cstdint>

#include "kernels/linear_paths.h"

namespace shoehorn::gguf {

/// R rows of W, `stream_bytes` apart.
template <typename Steps, int R>
struct Rows {
  using Block = typename Steps::Block;

  const std::byte* first;
  std::int64_t stream_bytes;

  const Block* blocks(int r, std::int64_t at) const {
    return reinterpret_cast<const Block*>(first + r * stream_bytes) + at;
  }
};

/// Where the lines to prefetch are, in bytes from the one in use.
struct Ahead {
  std::int64_t bytes = 0;
  std::int64_t last_byte = 0;  // of the row, from which on nothing is: zero bytes ahead is free
};

/// How far ahead of its use a row's line is asked for, into the nearest cache: on a Xeon of 2023
/// that is 3 to 8 % faster than into the second.
inline constexpr std::int64_t kAheadBytes = 2048;
/// Rows of x at a time.
inline constexpr int kMostRowsAtOnce = 4;

/// What a kernel sums at once.
template <typename Steps, int R>
struct Group {
  Rows<Steps, R> rows;
  Rows<Steps, R> following;  // the rows after them, whose first scales are gathered in time
  std::int64_t k;
  const float* x;
  Ahead ahead;

  std::int64_t blocks() const { return k / Steps::kBlockValues; }
};

/// The scales of the chunk at hand of R rows, and those of the next one on their way.
template <typename Steps, int R>
struct RowScales {
  typename Steps::Scales scales[R];
  typename Steps::Raw raw[R] = {};

  void gather(const Rows<Steps, R>& rows, std::int64_t at, std::int64_t blocks) {
    const std::int64_t left = blocks - at;
    const int count = static_cast<int>(left < Steps::kChunkBlocks ? left : Steps::kChunkBlocks);
    for (int r = 0; r < R; ++r) Steps::gather(rows.blocks(r, at), count, raw[r]);
  }
  void widen(const Rows<Steps, R>& rows, std::int64_t at) {
    for (int r = 0; r < R; ++r) Steps::widen(rows.blocks(r, at), raw[r], scales[r]);
  }
};

/// All chunks of a group: whole(at, line) for those of Steps::kChunkBlocks blocks, where `line` is
/// what to prefetch for the first row of W, part(at, count) for the rest.
template <typename Steps, int R, typename Whole, typename Part>
[[gnu::always_inline]] static inline void for_each_chunk(const Group<Steps, R>& group,
                                                         RowScales<Steps, R>& scales,
                                                         const Whole& whole, const Part& part) {
  const std::int64_t blocks = group.blocks();
  for (std::int64_t at = 0; at < blocks; at += Steps::kChunkBlocks) {
    const bool last = at + Steps::kChunkBlocks >= blocks;
    const Rows<Steps, R>& next_rows = last ? group.following : group.rows;
    const std::int64_t next_at = last ? 0 : at + Steps::kChunkBlocks;
    scales.gather(next_rows, next_at, blocks);
    if (blocks - at >= Steps::kChunkBlocks) {
      const auto byte = at * static_cast<std::int64_t>(sizeof(typename Steps::Block));
      const std::int64_t distance = byte < group.ahead.last_byte ? group.ahead.bytes : 0;
      whole(at, reinterpret_cast<const char*>(group.rows.blocks(0, at)) + distance);
    } else {
      part(at, static_cast<int>(blocks - at));
    }
    scales.widen(next_rows, next_at);
  }
}

/// Heads of streams of rows in a row.
struct Streams {
  std::int64_t rows;   // between two streams
  std::int64_t bytes;  // the same, in bytes
};

/// Outputs n, n + streams.rows, ... of R rows of W, with M rows of x from `first_row` on.
template <typename Kernel, int R, int M>
static inline void outputs_of_rows(const DotJob& job, std::int64_t n, std::int64_t next_n,
                                   std::int64_t first_row, const Streams& streams,
                                   const Ahead& ahead,
                                   RowScales<typename Kernel::Steps, R>& scales) {
  const auto row_bytes = static_cast<std::int64_t>(job.row_bytes);
  float sums[R][M];
  Kernel::template sum<R, M>({.rows = {job.weight + n * row_bytes, streams.bytes},
                              .following = {job.weight + next_n * row_bytes, streams.bytes},
                              .k = job.k,
                              .x = job.x + first_row * job.k,
                              .ahead = ahead},
                             scales, sums);
  for (int m = 0; m < M; ++m) {
    for (int r = 0; r < R; ++r) {
      const std::int64_t output = n + r * streams.rows;
      float* const y = job.y + (first_row + m) * job.ldy + output;
      const float value = job.bias != nullptr ? sums[r][m] + job.bias[output] : sums[r][m];
      *y = job.accumulate ? *y + value : value;
    }
  }
}

/// All rows of x with R rows of W; after the first few, W comes from the nearest cache.
template <typename Kernel, int R>
static inline void outputs(const DotJob& job, std::int64_t n, std::int64_t next_n,
                           const Streams& streams, const Ahead& ahead,
                           RowScales<typename Kernel::Steps, R>& scales) {
  const Ahead none;
  std::int64_t m = 0;
  for (; m + kMostRowsAtOnce <= job.rows; m += kMostRowsAtOnce) {
    const std::int64_t then = m + kMostRowsAtOnce < job.rows ? n : next_n;
    outputs_of_rows<Kernel, R, 4>(job, n, then, m, streams, m == 0 ? ahead : none, scales);
  }
  const Ahead& rest = m == 0 ? ahead : none;
  switch (job.rows - m) {
    case 1: outputs_of_rows<Kernel, R, 1>(job, n, next_n, m, streams, rest, scales); break;
    case 2: outputs_of_rows<Kernel, R, 2>(job, n, next_n, m, streams, rest, scales); break;
    case 3: outputs_of_rows<Kernel, R, 3>(job, n, next_n, m, streams, rest, scales); break;
    default: break;
  }
}

/// `count` rows of each of R streams, the first of which starts at row `begin`.
template <typename Kernel, int R>
static inline void dot_streams(const DotJob& job, std::int64_t begin, std::int64_t count) {
  using Steps = typename Kernel::Steps;
  if (count == 0) return;
  const auto row_bytes = static_cast<std::int64_t>(job.row_bytes);
  const Streams streams{.rows = count, .bytes = count * row_bytes};
  const std::int64_t distance = kAheadBytes < streams.bytes ? kAheadBytes : streams.bytes;
  const std::byte* const start = job.weight + begin * row_bytes;
  for (int r = 0; r < R; ++r) {
    for (std::int64_t at = 0; at < distance; at += 64) {
      __builtin_prefetch(start + r * streams.bytes + at, 0, 3);
    }
  }
  RowScales<Steps, R> scales;
  if (job.k > 0) {
    scales.gather({start, streams.bytes}, 0, job.k / Steps::kBlockValues);
    scales.widen({start, streams.bytes}, 0);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    // What is prefetched must lie in the stream: what follows is another's, or another thread's.
    const std::int64_t last_byte = (count - i) * row_bytes - distance;
    const std::int64_t next = i + 1 < count ? i + 1 : i;
    outputs<Kernel, R>(job, begin + i, begin + next, streams,
                       {.bytes = distance, .last_byte = last_byte}, scales);
  }
}

/// Outputs begin <= n < end, R rows of W side by side.
template <typename Kernel, int R>
static inline void dot_range(const DotJob& job, std::int64_t begin, std::int64_t end) {
  const std::int64_t length = (end - begin) / R;
  dot_streams<Kernel, R>(job, begin, length);
  dot_streams<Kernel, 1>(job, begin + R * length, end - begin - R * length);
}

}  // namespace shoehorn::gguf
