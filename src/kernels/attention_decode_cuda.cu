// One new token a sequence over its whole cache in 16 bits, bound by the card's memory. A block
// takes a run of keys of one kv head (Flash-Decoding) and all query heads that share it, so that
// keys and values are read once.
//
// A warp takes 16 keys at a time, straight from memory into the fragments of tensor-core products:
//   scores[key, head] = keys[key, dim] · q[dim, head]
//   sums[dim, head]  += values[key, dim]ᵀ · weights[key, head]
// A product does not care in which order it walks over its inner index, so 16 bytes that lie side
// by side in memory may stand in columns that do not: with g = lane / 4 and t = lane % 4, dims
// 8t..8t+7 of 32 are the inner columns 2t, 2t+1, 2t+8, 2t+9 of two products for the scores, and
// dims 8g..8g+7 of 64 are the rows g and g+8 of four products for the sums.
//
// Tensor cores idle here, so precision is free: a query is the sum of two numbers of the cache's
// dtype, and so is a weight.
#include <algorithm>

#include "kernels/attention_cuda_paths.h"
#include "kernels/instructions_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/mma_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarp;
constexpr int kTileKeys = 16;
static_assert(kDecodeGrain == kWarps * kTileKeys);

// Two numbers as the sum of two pairs.
struct SplitPair {
  std::uint32_t high;
  std::uint32_t low;
};

template <typename T>
__device__ SplitPair split_pair(float first, float second) {
  const std::uint32_t high = pack_pair<T>(first, second);
  const float2 rounded = unpack_pair<T>(high);
  return {high, pack_pair<T>(first - rounded.x, second - rounded.y)};
}

__device__ uint4 load_16(const std::byte* address, bool is_there) {
  return is_there ? __ldg(reinterpret_cast<const uint4*>(address)) : uint4{0, 0, 0, 0};
}

// Rows `first` to first + kTileKeys - 1, before `end`, of a cache.
__device__ void ask_for_rows(const std::byte* cache, int first, int end, int row_bytes, int lane) {
  constexpr int kLineBytes = 128;
  const int count = min(end - first, kTileKeys) * row_bytes;
  const std::byte* const from = cache + std::int64_t{first} * row_bytes;
  for (int at = lane * kLineBytes; at < count; at += kWarp * kLineBytes) prefetch(from + at);
}

// How products become scores, the same for all keys of a block.
struct Scoring {
  float scale;
  float softcap;
  Alibi alibi;  // slopes: from the block's first head on
  int heads;    // of the block
  int query;    // its position
};

// Columns of products are heads: 8 a product, kHeadTiles products. kDims: the wider of head_dim and
// value_dim, rounded up. Biases take registers that other models need for blocks side by side.
template <typename T, int kDims, int kHeadTiles, bool kHasBiases>
struct Decode {
  static constexpr int kHeads = 8 * kHeadTiles;
  static constexpr int kQueryRuns = kDims / 32;
  static constexpr int kValueRuns = kDims / 64;

  struct Shared {
    float sums[kWarps][kHeads][kDims];
    float max[kWarps][kHeads];
    float sum[kWarps][kHeads];
  };

  // q, [run of 32 dims][product][rows 0-7 or 8-15]
  SplitPair q[kHeadTiles][kQueryRuns][2][2];
  float sums[kHeadTiles][kValueRuns][4][4];  // [.., run of 64 dims, product, fragment]
  float max[kHeadTiles][2];                  // of heads 2t and 2t+1
  float sum[kHeadTiles][2];                  // of this lane's keys

  // `from` is the first of `heads` rows of head_dim.
  __device__ void load_queries(const float* from, int heads, int head_dim, int g, int t) {
#pragma unroll
    for (int tile = 0; tile < kHeadTiles; ++tile) {
      const int head = 8 * tile + g;
#pragma unroll
      for (int run = 0; run < kQueryRuns; ++run) {
#pragma unroll
        for (int product = 0; product < 2; ++product) {
          const int dim = 32 * run + 8 * t + 4 * product;
          float4 v{0, 0, 0, 0};
          if (head < heads && dim < head_dim) {
            v = *reinterpret_cast<const float4*>(from + head * head_dim + dim);
          }
          q[tile][run][product][0] = split_pair<T>(within_range<T>(v.x), within_range<T>(v.y));
          q[tile][run][product][1] = split_pair<T>(within_range<T>(v.z), within_range<T>(v.w));
        }
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        max[tile][i] = kNoMax;
        sum[tile][i] = 0;
      }
#pragma unroll
      for (int run = 0; run < kValueRuns; ++run) {
#pragma unroll
        for (int product = 0; product < 4; ++product) {
#pragma unroll
          for (int i = 0; i < 4; ++i) sums[tile][run][product][i] = 0;
        }
      }
    }
  }

  // Keys key .. key + 15, of which those from `end` on do not count.
  __device__ void add_keys(const std::byte* keys, const std::byte* values, int key, int end,
                           int head_dim, int value_dim, const Scoring& scoring, int g, int t) {
    const auto row = [&](const std::byte* cache, int width, int offset) {
      return cache + min(key + offset, end - 1) * (2 * std::int64_t{width});
    };
    uint4 k[kQueryRuns][2];
#pragma unroll
    for (int run = 0; run < kQueryRuns; ++run) {
      const int dim = 32 * run + 8 * t;
      k[run][0] = load_16(row(keys, head_dim, g) + 2 * dim, dim < head_dim);
      k[run][1] = load_16(row(keys, head_dim, g + 8) + 2 * dim, dim < head_dim);
    }
    uint4 v[kValueRuns][4];
    const auto load_values = [&] {
#pragma unroll
      for (int run = 0; run < kValueRuns; ++run) {
        const int dim = 64 * run + 8 * g;
        v[run][0] = load_16(row(values, value_dim, 2 * t) + 2 * dim, dim < value_dim);
        v[run][1] = load_16(row(values, value_dim, 2 * t + 1) + 2 * dim, dim < value_dim);
        v[run][2] = load_16(row(values, value_dim, 2 * t + 8) + 2 * dim, dim < value_dim);
        v[run][3] = load_16(row(values, value_dim, 2 * t + 9) + 2 * dim, dim < value_dim);
      }
    };
    // Wide heads have no registers for keys and values at once.
    if constexpr (kDims <= 128) load_values();

    float scores[kHeadTiles][4] = {};
    float small[kHeadTiles][4] = {};
#pragma unroll
    for (int run = 0; run < kQueryRuns; ++run) {
      const std::uint32_t first[4] = {k[run][0].x, k[run][1].x, k[run][0].y, k[run][1].y};
      const std::uint32_t second[4] = {k[run][0].z, k[run][1].z, k[run][0].w, k[run][1].w};
#pragma unroll
      for (int tile = 0; tile < kHeadTiles; ++tile) {
        const auto& to = q[tile][run];
        mma_16x8x16<T>(scores[tile], first, to[0][0].high, to[0][1].high);
        mma_16x8x16<T>(small[tile], first, to[0][0].low, to[0][1].low);
        mma_16x8x16<T>(scores[tile], second, to[1][0].high, to[1][1].high);
        mma_16x8x16<T>(small[tile], second, to[1][0].low, to[1][1].low);
      }
    }

    SplitPair weights[kHeadTiles][2];
#pragma unroll
    for (int tile = 0; tile < kHeadTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[tile][i] =
            scaled_score(scores[tile][i] + small[tile][i], scoring.scale, scoring.softcap);
      }
      if constexpr (kHasBiases) add_biases(scores[tile], tile, key + g, scoring, t);
      softmax_step(scores[tile], tile, key + g < end, key + g + 8 < end, weights[tile]);
    }
    if constexpr (kDims > 128) load_values();

#pragma unroll
    for (int run = 0; run < kValueRuns; ++run) {
      const std::uint32_t even[4] = {v[run][0].x, v[run][0].y, v[run][0].z, v[run][0].w};
      const std::uint32_t odd[4] = {v[run][1].x, v[run][1].y, v[run][1].z, v[run][1].w};
      const std::uint32_t even8[4] = {v[run][2].x, v[run][2].y, v[run][2].z, v[run][2].w};
      const std::uint32_t odd8[4] = {v[run][3].x, v[run][3].y, v[run][3].z, v[run][3].w};
#pragma unroll
      for (int product = 0; product < 4; ++product) {
        // Lower halves are one dim of two keys, upper halves the next dim.
        const std::uint32_t a[4] = {__byte_perm(even[product], odd[product], 0x5410),
                                    __byte_perm(even[product], odd[product], 0x7632),
                                    __byte_perm(even8[product], odd8[product], 0x5410),
                                    __byte_perm(even8[product], odd8[product], 0x7632)};
#pragma unroll
        for (int tile = 0; tile < kHeadTiles; ++tile) {
          const SplitPair* const w = weights[tile];
          mma_16x8x16<T>(sums[tile][run][product], a, w[0].high, w[1].high);
          mma_16x8x16<T>(sums[tile][run][product], a, w[0].low, w[1].low);
        }
      }
    }
  }

  // Scores of `key` and key + 8, heads 2t and 2t+1.
  __device__ static void add_biases(float (&scores)[4], int tile, int key, const Scoring& scoring,
                                    int t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int head = min(8 * tile + 2 * t + i % 2, scoring.heads - 1);
      scores[i] += alibi_bias(scoring.alibi, scoring.alibi.slopes[head], i < 2 ? key : key + 8,
                              scoring.query);
    }
  }

  // Scores of keys g (where seen0) and g+8 (where seen1), heads 2t and 2t+1, become weights, and
  // earlier sums shrink where the maximum grew. The weights leave transposed: rows 2t, 2t+1 and
  // 2t+8, 2t+9 of column g.
  __device__ void softmax_step(float (&scores)[4], int tile, bool seen0, bool seen1,
                               SplitPair (&weights)[2]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scores[i] = (i < 2 ? seen0 : seen1) ? scores[i] * kLog2E : kNoMax;
    }
    float factor[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float largest = fmaxf(scores[i], scores[i + 2]);
#pragma unroll
      for (int distance = 4; distance < kWarp; distance *= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, distance));
      }
      largest = fmaxf(largest, max[tile][i]);
      // The first key of a tile is always seen, so that `largest` is a number.
      factor[i] = fast_exp2(max[tile][i] - largest);
      max[tile][i] = largest;
      scores[i] = fast_exp2(scores[i] - largest);
      scores[i + 2] = fast_exp2(scores[i + 2] - largest);
      sum[tile][i] = sum[tile][i] * factor[i] + (scores[i] + scores[i + 2]);
    }
#pragma unroll
    for (int run = 0; run < kValueRuns; ++run) {
#pragma unroll
      for (int product = 0; product < 4; ++product) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[tile][run][product][i] *= factor[i % 2];
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const SplitPair pair = split_pair<T>(scores[2 * half], scores[2 * half + 1]);
      weights[half] = {transpose_matrix(pair.high), transpose_matrix(pair.low)};
    }
  }

  __device__ void save(Shared& shared, int warp, int g, int t) {
#pragma unroll
    for (int tile = 0; tile < kHeadTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int head = 8 * tile + 2 * t + i;
#pragma unroll
        for (int distance = 4; distance < kWarp; distance *= 2) {
          sum[tile][i] += __shfl_xor_sync(kAllLanes, sum[tile][i], distance);
        }
        if (g == 0) {
          shared.max[warp][head] = max[tile][i];
          shared.sum[warp][head] = sum[tile][i];
        }
#pragma unroll
        for (int run = 0; run < kValueRuns; ++run) {
#pragma unroll
          for (int product = 0; product < 4; ++product) {
            const float* const from = sums[tile][run][product];
            const int dim = 64 * run + 8 * g + 2 * product;
            *reinterpret_cast<float2*>(&shared.sums[warp][head][dim]) = {from[i], from[i + 2]};
          }
        }
      }
    }
  }
};

// Grid: splits, kv heads times runs of a group's heads, sequences.
template <typename T, int kDims, int kHeadTiles, bool kHasBiases>
__global__ void __launch_bounds__(kThreads)
    decode(const AttentionJob job, const AttentionParts parts, const int runs_of_heads) {
  using Work = Decode<T, kDims, kHeadTiles, kHasBiases>;
  __shared__ typename Work::Shared shared;
  let_next_begin();
  const SequenceRows sequence = job.sequences[blockIdx.z];
  const KvPlace place = job.places[blockIdx.z];
  const KeyRange seen = keys_seen(sequence, 0, job.params.sliding_window);
  const int run = keys_per_split(seen.end - seen.first, parts.splits, kDecodeGrain);
  const int begin = seen.first + static_cast<int>(blockIdx.x) * run;
  const int end = min(begin + run, seen.end);

  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int g = lane / 4;
  const int t = lane % 4;
  const int heads = static_cast<int>(job.params.heads);
  const int head_dim = static_cast<int>(job.head_dim);
  const int value_dim = static_cast<int>(job.value_dim);
  const int group = heads / static_cast<int>(job.kv_heads);
  const int kv_head = static_cast<int>(blockIdx.y) / runs_of_heads;
  const std::int64_t head_start = kv_head * place.capacity * 2;
  const std::byte* const keys = place.keys + head_start * head_dim;
  const std::byte* const values = place.values + head_start * value_dim;
  if (sequence.rows > 0) {
    // Old positions come to the card's shared cache while the kernel ahead works out the new one.
    const int first = begin + warp * kTileKeys;
    ask_for_rows(keys, first, end, 2 * head_dim, lane);
    ask_for_rows(values, first, end, 2 * value_dim, lane);
  }
  follow();
  if (sequence.rows == 0 || begin >= end) return;
  const int first_of_group = static_cast<int>(blockIdx.y) % runs_of_heads * Work::kHeads;
  const int first_head = kv_head * group + first_of_group;
  const int count = min(group - first_of_group, Work::kHeads);
  const std::int64_t row = std::int64_t{sequence.first_row} * heads + first_head;

  Work work;
  work.load_queries(job.q + row * head_dim, count, head_dim, g, t);
  Scoring scoring{job.params.scale, job.params.softcap, job.params.alibi, count, seen.end - 1};
  if constexpr (kHasBiases) scoring.alibi.slopes += first_head;
  for (int key = begin + warp * kTileKeys; key < end; key += kDecodeGrain) {
    work.add_keys(keys, values, key, end, head_dim, value_dim, scoring, g, t);
  }
  work.save(shared, warp, g, t);
  __syncthreads();

  // Warps without keys have the maximum -inf, a sum of 0 and sums of 0.
  for (int i = static_cast<int>(threadIdx.x); i < count * value_dim; i += kThreads) {
    const int head = i / value_dim;
    const int dim = i % value_dim;
    float max = kNoMax;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) max = fmaxf(max, shared.max[w][head]);
    float sum = 0;
    float total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float factor = fast_exp2(shared.max[w][head] - max);
      sum += factor * shared.sum[w][head];
      total += factor * shared.sums[w][head][dim];
    }
    if (parts.splits == 1) {
      job.out[row * value_dim + i] =
          total / sum_with_sink(sum, max, job.params.sinks, first_head + head);
      continue;
    }
    const std::int64_t part =
        (std::int64_t{blockIdx.z} * heads + first_head + head) * parts.splits + blockIdx.x;
    parts.sums[part * value_dim + dim] = total;
    if (dim == 0) parts.stats[part] = {max, sum};
  }
}

template <typename T, int kDims, int kHeadTiles, bool kHasBiases = false>
void launch(const AttentionJob& job, const AttentionParts& parts, const Queue& queue) {
  constexpr int kHeads = Decode<T, kDims, kHeadTiles, kHasBiases>::kHeads;
  const std::int64_t group = job.params.heads / job.kv_heads;
  const std::int64_t runs = ceil_div(group, kHeads);
  // gridDim.z ends at 65,535.
  constexpr std::int64_t kMostSequences = 32768;
  for (std::int64_t first = 0; first < job.sequence_count; first += kMostSequences) {
    AttentionJob some = job;
    some.sequences += first;
    some.places += first;
    some.sequence_count = std::min(kMostSequences, job.sequence_count - first);
    AttentionParts its_parts = parts;
    its_parts.sums += first * job.params.heads * parts.splits * job.value_dim;
    its_parts.stats += first * job.params.heads * parts.splits;
    const dim3 grid(static_cast<unsigned>(parts.splits), static_cast<unsigned>(job.kv_heads * runs),
                    static_cast<unsigned>(some.sequence_count));
    launch_following(queue, "attention", decode<T, kDims, kHeadTiles, kHasBiases>, grid, kThreads,
                     0, some, its_parts, static_cast<int>(runs));
  }
}

template <typename T>
void launch_for(const AttentionJob& job, const AttentionParts& parts, const Queue& queue) {
  const bool is_wide = decode_heads_per_block(job) > 8;
  const std::int64_t dims = std::max(job.head_dim, job.value_dim);
  if (job.params.alibi.slopes != nullptr) {
    if (dims > 128) return launch<T, 256, 1, true>(job, parts, queue);
    if (dims > 64) return launch<T, 128, 1, true>(job, parts, queue);
    return launch<T, 64, 1, true>(job, parts, queue);
  }
  if (dims > 128) return launch<T, 256, 1>(job, parts, queue);
  if (dims > 64) {
    return is_wide ? launch<T, 128, 2>(job, parts, queue) : launch<T, 128, 1>(job, parts, queue);
  }
  return is_wide ? launch<T, 64, 2>(job, parts, queue) : launch<T, 64, 1>(job, parts, queue);
}

}  // namespace

int decode_heads_per_block(const AttentionJob& job) {
  const std::int64_t group = job.params.heads / job.kv_heads;
  const bool has_room =
      std::max(job.head_dim, job.value_dim) <= 128 && job.params.alibi.slopes == nullptr;
  return group > 8 && has_room ? 16 : 8;
}

void attention_decode(const AttentionJob& job, const AttentionParts& parts, const Queue& queue) {
  if (job.dtype == DType::kF16) return launch_for<__half>(job, parts, queue);
  launch_for<__nv_bfloat16>(job, parts, queue);
}

}  // namespace shoehorn::cuda
