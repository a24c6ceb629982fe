// Stores keys and values, picks the way of attention, and joins the parts of split sequences.
#include <algorithm>
#include <cmath>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/attention_cuda.h"
#include "kernels/attention_cuda_paths.h"
#include "kernels/kv_rows_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 128;
// Blocks that fill a card twice over; more do not help, and cost parts to join.
constexpr std::int64_t kMostBlocks = 512;
constexpr std::int64_t kMostSplits = 128;

// ---- storing ----

// A row of a cache of Ts, by a warp.
template <typename T>
__device__ void store_head(const float* from, std::byte* row, int width, int lane, bool is_wide) {
  if constexpr (kHasScale<T>) {
    encode_scaled_row(row, width, lane, [&](int i) { return from[i]; });
    return;
  }
  auto* const to = reinterpret_cast<T*>(row);
  if (is_wide) {
    for (int i = 4 * lane; i < width; i += 4 * kWarp) {
      const float4 v = *reinterpret_cast<const float4*>(from + i);
      struct alignas(4 * sizeof(T)) Four {
        T at[4];
      };
      *reinterpret_cast<Four*>(to + i) = {
          {from_float<T>(v.x), from_float<T>(v.y), from_float<T>(v.z), from_float<T>(v.w)}};
    }
  } else {
    for (int i = lane; i < width; i += kWarp) to[i] = from_float<T>(from[i]);
  }
}

// A block a sequence and token; a warp a head. `is_wide`: everything is aligned to four values.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    store_tokens(const AttentionJob job, const std::int64_t first_block, const bool is_wide) {
  let_next_begin();
  follow();
  const std::int64_t block = first_block + blockIdx.x;
  const std::int64_t s = block / job.most_rows;
  const auto token = static_cast<int>(block % job.most_rows);
  const SequenceRows sequence = job.sequences[s];
  if (token >= sequence.rows) return;
  const KvPlace place = job.places[s];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int head_dim = static_cast<int>(job.head_dim);
  const int value_dim = static_cast<int>(job.value_dim);
  for (int head = static_cast<int>(threadIdx.x) / kWarp; head < job.kv_heads;
       head += kThreads / kWarp) {
    const std::int64_t from = (std::int64_t{sequence.first_row} + token) * job.kv_heads + head;
    const std::int64_t to = head * place.capacity + sequence.start + token;
    store_head<T>(job.k + from * head_dim, place.keys + to * kv_row_bytes<T>(head_dim), head_dim,
                  lane, is_wide);
    store_head<T>(job.v + from * value_dim, place.values + to * kv_row_bytes<T>(value_dim),
                  value_dim, lane, is_wide);
  }
}

struct RotaryTables {
  const float* cos;
  const float* sin;
  int half;  // of rotary_dim
};

// Entries i and i + half of a head, turned. The products are rounded before the sum, as rope.cc
// does.
__device__ float turned_first(float a, float b, float cos, float sin) {
  return __fsub_rn(__fmul_rn(a, cos), __fmul_rn(b, sin));
}
__device__ float turned_second(float a, float b, float cos, float sin) {
  return __fadd_rn(__fmul_rn(b, cos), __fmul_rn(a, sin));
}

// One head, turned on its way to a row of Ts.
template <typename T>
__device__ void turn_head(const float* from, std::byte* row, int head_dim, const float* cos,
                          const float* sin, int half, int lane) {
  if constexpr (kHasScale<T>) {
    encode_scaled_row(row, head_dim, lane, [&](int i) {
      if (i >= 2 * half) return from[i];
      const int at = i < half ? i : i - half;
      const float a = from[at];
      const float b = from[at + half];
      return i < half ? turned_first(a, b, cos[at], sin[at])
                      : turned_second(a, b, cos[at], sin[at]);
    });
    return;
  }
  auto* const to = reinterpret_cast<T*>(row);
  for (int i = lane; i < half; i += kWarp) {
    const float a = from[i];
    const float b = from[i + half];
    to[i] = from_float<T>(turned_first(a, b, cos[i], sin[i]));
    to[i + half] = from_float<T>(turned_second(a, b, cos[i], sin[i]));
  }
  for (int i = 2 * half + lane; i < head_dim; i += kWarp) to[i] = from_float<T>(from[i]);
}

// A block a sequence and token, blocks beside each other sharing its heads; a warp a head: those of
// q, then of k, then of v.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    turn_and_store(const AttentionJob job, float* q, const RotaryTables rotary,
                   const std::int64_t first_block, const bool is_wide) {
  let_next_begin();
  const std::int64_t block = first_block + blockIdx.x;
  const std::int64_t s = block / job.most_rows;
  const auto token = static_cast<int>(block % job.most_rows);
  const SequenceRows sequence = job.sequences[s];
  const KvPlace place = job.places[s];
  follow();
  if (token >= sequence.rows) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int head_dim = static_cast<int>(job.head_dim);
  const int value_dim = static_cast<int>(job.value_dim);
  const int heads = static_cast<int>(job.params.heads);
  const int kv_heads = static_cast<int>(job.kv_heads);
  const std::int64_t row = std::int64_t{sequence.first_row} + token;
  const float* const cos = rotary.cos + row * rotary.half;
  const float* const sin = rotary.sin + row * rotary.half;
  constexpr int kWarpsOfABlock = kThreads / kWarp;
  for (int item = static_cast<int>(blockIdx.y * kWarpsOfABlock + threadIdx.x / kWarp);
       item < heads + 2 * kv_heads; item += static_cast<int>(gridDim.y) * kWarpsOfABlock) {
    if (item < heads) {
      float* const head = q + (row * heads + item) * head_dim;
      turn_head<float>(head, reinterpret_cast<std::byte*>(head), 2 * rotary.half, cos, sin,
                       rotary.half, lane);
      continue;
    }
    const bool is_key = item < heads + kv_heads;
    const int head = is_key ? item - heads : item - heads - kv_heads;
    const std::int64_t from = row * kv_heads + head;
    const std::int64_t to = head * place.capacity + sequence.start + token;
    if (is_key) {
      turn_head<T>(job.k + from * head_dim, place.keys + to * kv_row_bytes<T>(head_dim), head_dim,
                   cos, sin, rotary.half, lane);
    } else {
      store_head<T>(job.v + from * value_dim, place.values + to * kv_row_bytes<T>(value_dim),
                    value_dim, lane, is_wide);
    }
  }
}

template <typename T>
void run_turn(const AttentionJob& job, float* q, const RotaryTables& rotary, const Queue& queue) {
  const bool is_wide = job.value_dim % 4 == 0 && are_aligned_16({job.v});
  const std::int64_t blocks = job.sequence_count * job.most_rows;
  const std::int64_t warps = job.params.heads + 2 * job.kv_heads;
  constexpr std::int64_t kMostBlocksOfAGrid = std::int64_t{1} << 30;
  for (std::int64_t first = 0; first < blocks; first += kMostBlocksOfAGrid) {
    const dim3 grid(static_cast<unsigned>(std::min(kMostBlocksOfAGrid, blocks - first)),
                    static_cast<unsigned>(std::min<std::int64_t>(
                        ceil_div(warps, std::int64_t{kThreads / kWarp}), 1024)));
    launch_following(queue, "rotate_halves_and_store", turn_and_store<T>, grid, kThreads, 0, job, q,
                     rotary, first, is_wide);
  }
}

template <typename T>
void run_store(const AttentionJob& job, const Queue& queue) {
  const bool is_wide =
      job.head_dim % 4 == 0 && job.value_dim % 4 == 0 && are_aligned_16({job.k, job.v});
  const std::int64_t blocks = job.sequence_count * job.most_rows;
  constexpr std::int64_t kMostBlocksOfAGrid = std::int64_t{1} << 30;
  for (std::int64_t first = 0; first < blocks; first += kMostBlocksOfAGrid) {
    const auto count = static_cast<unsigned>(std::min(kMostBlocksOfAGrid, blocks - first));
    launch_following(queue, "store_kv", store_tokens<T>, count, kThreads, 0, job, first, is_wide);
  }
}

// ---- joining ----

constexpr int kMostJoiningWarps = 8;
constexpr int kPartsAtOnce = 5;  // that a lane loads before it needs the first

__device__ float4 plus_scaled(float4 sum, float factor, float4 v) {
  return {sum.x + factor * v.x, sum.y + factor * v.y, sum.z + factor * v.z, sum.w + factor * v.w};
}
__device__ float plus_scaled(float sum, float factor, float v) {
  return sum + factor * v;
}

// What each of `count` parts weighs, by one warp.
__device__ void weigh_parts(const float2* stats, int count, const float* sinks, int head,
                            float* weights) {
  constexpr int kEach = static_cast<int>(kMostSplits) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float2 mine[kEach];
  float max = kNoMax;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int p = lane + i * kWarp;
    mine[i] = p < count ? stats[p] : float2{kNoMax, 0};
    max = fmaxf(max, mine[i].x);
  }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    max = fmaxf(max, __shfl_xor_sync(kAllLanes, max, distance));
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    mine[i].x = exp2f(mine[i].x - max);
    sum += mine[i].x * mine[i].y;
  }
  sum = sum_with_sink(warp_sum(sum), max, sinks, head);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int p = lane + i * kWarp;
    if (p < count) weights[p] = mine[i].x / sum;
  }
}

// Grid: heads, sequences. A lane has one Value of value_dim, a warp every so manieth part. The sums
// are on their way while the first warp finds out what they weigh.
template <typename Value>
__global__ void __launch_bounds__(kMostJoiningWarps* kWarp)
    join_parts(const AttentionJob job, const AttentionParts parts, const int grain) {
  __shared__ float weights[kMostSplits];
  __shared__ Value totals[kMostJoiningWarps][kWarp];
  constexpr int kStep = sizeof(Value) / sizeof(float);
  let_next_begin();
  const SequenceRows sequence = job.sequences[blockIdx.y];
  follow();
  if (sequence.rows == 0) return;
  const KeyRange seen = keys_seen(sequence, 0, job.params.sliding_window);
  const int keys = seen.end - seen.first;
  const int run = keys_per_split(keys, parts.splits, grain);
  const int count = static_cast<int>(ceil_div(keys, run));  // splits that have keys
  const auto head = static_cast<int>(blockIdx.x);
  const std::int64_t row = std::int64_t{blockIdx.y} * job.params.heads + head;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int values = static_cast<int>(job.value_dim) / kStep;
  const auto* const sums =
      reinterpret_cast<const Value*>(parts.sums + row * parts.splits * job.value_dim);
  auto* const out = reinterpret_cast<Value*>(
      job.out + (std::int64_t{sequence.first_row} * job.params.heads + head) * job.value_dim);
  Value some[kPartsAtOnce];
  const auto load = [&](int i, int first) {
#pragma unroll
    for (int j = 0; j < kPartsAtOnce; ++j) {
      const int p = first + j * warps;
      some[j] = p < count && i < values ? sums[p * values + i] : Value{};
    }
  };
  load(lane, warp);
  if (warp == 0) {
    weigh_parts(parts.stats + row * parts.splits, count, job.params.sinks, head, weights);
  }
  __syncthreads();
  for (int begin = 0; begin < values; begin += kWarp) {
    const int i = begin + lane;
    Value total{};
    for (int first = warp; first < count; first += kPartsAtOnce * warps) {
      if (begin > 0 || first > warp) load(i, first);
#pragma unroll
      for (int j = 0; j < kPartsAtOnce; ++j) {
        const int p = first + j * warps;
        if (p < count) total = plus_scaled(total, weights[p], some[j]);
      }
    }
    totals[warp][lane] = total;
    __syncthreads();
    if (warp == 0 && i < values) {
      for (int other = 1; other < warps; ++other) {
        total = plus_scaled(total, 1.0F, totals[other][lane]);
      }
      out[i] = total;
    }
    __syncthreads();
  }
}

// ---- picking ----

bool takes_tensor_cores(const AttentionJob& job) {
  const float scale = job.params.scale;
  const auto fits = [](std::int64_t width) { return width % 8 == 0 && width <= 256; };
  return (job.dtype == DType::kF16 || job.dtype == DType::kBF16) && fits(job.head_dim) &&
         fits(job.value_dim) && are_aligned_16({job.q, job.out}) && std::isfinite(scale) &&
         scale != 0;
}

// Blocks that share the keys of a sequence and kv head, so that all of them fill the card: decided
// from what stays the same while a graph is used.
std::int64_t splits_for(const AttentionJob& job, std::int64_t blocks_unsplit, int grain,
                        const Queue& queue) {
  const std::int64_t enough =
      std::min<std::int64_t>(2 * std::int64_t{queue.card().multiprocessors}, kMostBlocks);
  const std::int64_t useful = ceil_div(std::max<std::int64_t>(job.most_positions, 1), grain);
  return std::min({ceil_div(enough, blocks_unsplit), useful, kMostSplits});
}

AttentionParts take_parts(const AttentionJob& job, std::int64_t splits, ExecContext& ctx) {
  AttentionParts parts{.splits = static_cast<int>(splits)};
  if (splits == 1) return parts;
  const auto count = static_cast<std::size_t>(job.sequence_count * job.params.heads * splits);
  parts.sums = ctx.workspace.take<float>(count * static_cast<std::size_t>(job.value_dim)).data();
  parts.stats = ctx.workspace.take<float2>(count).data();
  return parts;
}

[[noreturn]] void throw_too_wide(const AttentionJob& job, const Queue& queue) {
  throw DeviceError(str_cat("CUDA card ", queue.ordinal(), ": attention of keys of ", job.head_dim,
                            " and values of ", job.value_dim, " does not fit its shared memory"));
}

void decode(const AttentionJob& job, ExecContext& ctx) {
  const Queue& queue = *ctx.queue;
  const std::int64_t group = job.params.heads / job.kv_heads;
  const bool is_fast = takes_tensor_cores(job);
  const int grain = is_fast ? kDecodeGrain : kPlainGrain;
  const std::int64_t heads_per_block = is_fast ? decode_heads_per_block(job) : 8;
  const std::int64_t blocks = job.sequence_count * job.kv_heads * ceil_div(group, heads_per_block);
  const std::size_t mark = ctx.workspace.mark();
  const AttentionParts parts = take_parts(job, splits_for(job, blocks, grain, queue), ctx);
  if (is_fast) {
    attention_decode(job, parts, queue);
  } else if (!attention_plain(job, parts, queue)) {
    throw_too_wide(job, queue);
  }
  if (parts.splits > 1) join_attention_parts(job, parts, grain, queue);
  ctx.workspace.release(mark);
}

}  // namespace

void join_attention_parts(const AttentionJob& job, const AttentionParts& parts, int grain,
                          const Queue& queue) {
  // gridDim.y ends at 65,535; so many sequences are never split.
  const dim3 grid(static_cast<unsigned>(job.params.heads),
                  static_cast<unsigned>(job.sequence_count));
  const auto threads = static_cast<unsigned>(std::min(parts.splits, kMostJoiningWarps) * kWarp);
  const bool is_wide = job.value_dim % 4 == 0 && are_aligned_16({parts.sums, job.out});
  launch_following(queue, "attention", is_wide ? join_parts<float4> : join_parts<float>, grid,
                   threads, 0, job, parts, grain);
}

void store_kv(const AttentionJob& job, ExecContext& ctx) {
  if (job.sequence_count == 0 || job.most_rows == 0) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  switch (job.dtype) {
    case DType::kF16: return run_store<__half>(job, queue);
    case DType::kBF16: return run_store<__nv_bfloat16>(job, queue);
    case DType::kI8: return run_store<std::int8_t>(job, queue);
    default: return run_store<float>(job, queue);
  }
}

void rotate_halves_and_store(const AttentionJob& job, float* q, const float* cos, const float* sin,
                             std::int64_t rotary_dim, ExecContext& ctx) {
  if (job.sequence_count == 0 || job.most_rows == 0) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  const RotaryTables rotary{cos, sin, static_cast<int>(rotary_dim / 2)};
  switch (job.dtype) {
    case DType::kF16: return run_turn<__half>(job, q, rotary, queue);
    case DType::kBF16: return run_turn<__nv_bfloat16>(job, q, rotary, queue);
    case DType::kI8: return run_turn<std::int8_t>(job, q, rotary, queue);
    default: return run_turn<float>(job, q, rotary, queue);
  }
}

void attention(const AttentionJob& job, ExecContext& ctx) {
  if (job.sequence_count == 0 || job.most_rows == 0) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  if (job.most_rows == 1) return decode(job, ctx);
  if (takes_tensor_cores(job) && attention_prefill(job, queue)) return;
  if (!attention_plain(job, AttentionParts{}, queue)) throw_too_wide(job, queue);
}

std::size_t attention_workspace_bytes(std::int64_t rows, std::int64_t sequences,
                                      std::int64_t positions, std::int64_t heads,
                                      std::int64_t value_dim) {
  // Parts of passes of one row a sequence: of all numbers of sequences up to these.
  const std::int64_t most_sequences = std::min(rows, sequences);
  const std::int64_t splits =
      std::min(kMostSplits, ceil_div(std::max<std::int64_t>(positions, 1), kPlainGrain));
  const std::int64_t parts =
      std::min(most_sequences * splits, kMostBlocks + most_sequences) * heads;
  // Tables of shoehorn::attention() come on top, and padding.
  return static_cast<std::size_t>(parts * (value_dim + 2)) * sizeof(float) + 1024;
}

}  // namespace shoehorn::cuda
