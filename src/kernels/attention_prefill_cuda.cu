// Many new tokens over a cache in 16 bits: FlashAttention-2 (arXiv:2307.08691) on the tensor cores
// of one warp. A block takes 128 rows of one sequence and kv head, where a row is a token and one
// of the query heads that share the kv head, token by token: the heads of a group use the same
// keys. Each of its 8 warps owns 16 rows; tiles of keys and values stream through shared memory,
// one being copied while the one before is used. Tiles that no row of the block sees are left out.
#include <algorithm>
#include <cmath>

#include <cuda_runtime_api.h>

#include "cuda/check.h"
#include "kernels/attention_cuda_paths.h"
#include "kernels/mma_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kRows = 16 * kWarps;

// Shared memory in units of 16 bytes. Rows are an odd number of them apart, so that the 8 rows that
// ldmatrix reads at once lie in different banks.
template <int kDims>
struct Layout {
  static constexpr int kChunks = kDims / 8;
  static constexpr int kStride = kChunks % 2 == 0 ? kChunks + 1 : kChunks;
  static constexpr int kKeys = kDims <= 128 ? 64 : 32;
  static constexpr int kTile = kKeys * kStride;
  static constexpr int kStage = 2 * kTile;  // keys, then values
  static constexpr int kQueries = kRows * kStride;
  // Queries stay in registers where those suffice; they pass through the second stage then.
  static constexpr bool kQueriesInRegisters = kDims <= 128;
  static_assert(!kQueriesInRegisters || kQueries <= kStage);
  static constexpr int kUnits = 2 * kStage + (kQueriesInRegisters ? 0 : kQueries);
  static constexpr std::size_t kBytes = std::size_t{16} * kUnits;
};

// What a block works on.
struct Tile {
  int first_row;  // of the sequence, counting heads of the group
  int end_row;
  int group;
  int head_dim;
  int begin_key;  // a multiple of kKeys
  int end_key;
};

// The rows of the block as numbers of 16 bits, zero beyond the sequence and head_dim.
template <typename T, int kDims>
__device__ void load_queries(const float* q, std::int64_t token_stride, const Tile& tile,
                             float sign, uint4* to) {
  using L = Layout<kDims>;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * L::kChunks; i += kThreads) {
    const int r = i / L::kChunks;
    const int chunk = i % L::kChunks;
    const int row = tile.first_row + r;
    uint4 packed{0, 0, 0, 0};
    if (row < tile.end_row && 8 * chunk < tile.head_dim) {
      const float* const from =
          q + row / tile.group * token_stride + row % tile.group * tile.head_dim + 8 * chunk;
      const float4 a = reinterpret_cast<const float4*>(from)[0];
      const float4 b = reinterpret_cast<const float4*>(from)[1];
      const auto pair = [&](float first, float second) {
        return pack_pair<T>(within_range<T>(sign * first), within_range<T>(sign * second));
      };
      packed = {pair(a.x, a.y), pair(a.z, a.w), pair(b.x, b.y), pair(b.z, b.w)};
    }
    to[r * L::kStride + chunk] = packed;
  }
}

// Starts copying keys key .. key + kKeys - 1 of both caches, zeros from end_key on.
template <int kDims>
__device__ void start_tile(const std::byte* keys, const std::byte* values, const Tile& tile,
                           int key, std::uint32_t to) {
  using L = Layout<kDims>;
  const std::int64_t row_bytes = 2 * std::int64_t{tile.head_dim};
#pragma unroll
  for (int begin = 0; begin < L::kKeys * L::kChunks; begin += kThreads) {
    const int i = begin + static_cast<int>(threadIdx.x);
    if (L::kKeys * L::kChunks % kThreads != 0 && i >= L::kKeys * L::kChunks) break;
    const int r = i / L::kChunks;
    const int chunk = i % L::kChunks;
    const bool is_there = key + r < tile.end_key && 8 * chunk < tile.head_dim;
    const std::int64_t from = is_there ? (key + r) * row_bytes + 16 * chunk : 0;
    const std::uint32_t at = to + 16 * static_cast<std::uint32_t>(r * L::kStride + chunk);
    copy_16_or_zero(at, keys + from, is_there);
    copy_16_or_zero(at + 16 * L::kTile, values + from, is_there);
  }
}

// The 16 rows of a warp. A lane holds parts of rows g and g + 8.
template <typename T, int kDims>
struct Rows {
  using L = Layout<kDims>;
  static constexpr int kSteps = kDims / 16;

  std::uint32_t q[L::kQueriesInRegisters ? kSteps : 1][4];
  float sums[kDims / 8][4] = {};
  float max[2] = {kNoMax, kNoMax};
  float sum[2] = {0, 0};  // of this lane's keys
  int last_key[2];        // that the row sees
  int first_key[2];

  // scores[16 rows, kKeys] of a tile.
  __device__ void multiply_keys(std::uint32_t queries, std::uint32_t keys, int lane,
                                float (&scores)[L::kKeys / 8][4]) {
    // Matrices: keys 0-7 and 8-15 of 16, each with dims 0-7 and 8-15 of 16.
    const int row = lane / 16 * 8 + lane % 8;
    const std::uint32_t at =
        keys + 16 * static_cast<std::uint32_t>(row * L::kStride + lane / 8 % 2);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      std::uint32_t a[4];
      if constexpr (L::kQueriesInRegisters) {
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = q[step][i];
      } else {
        load_matrices(a, queries + 32 * static_cast<std::uint32_t>(step));
      }
#pragma unroll
      for (int n = 0; n < L::kKeys / 16; ++n) {
        std::uint32_t b[4];
        load_matrices(b, at + 16 * static_cast<std::uint32_t>(16 * n * L::kStride + 2 * step));
        mma_16x8x16<T>(scores[2 * n], a, b[0], b[1]);
        mma_16x8x16<T>(scores[2 * n + 1], a, b[2], b[3]);
      }
    }
  }

  __device__ void hide(float (&scores)[L::kKeys / 8][4], int key, int t) const {
#pragma unroll
    for (int n = 0; n < L::kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = key + 8 * n + 2 * t + i % 2;
        if (at > last_key[i / 2] || at < first_key[i / 2]) scores[n][i] = kNoMax;
      }
    }
  }

  // Scores become weights 2^(unit · (score - max)), unit > 0; earlier sums shrink where the maximum
  // grew.
  __device__ void softmax_step(float (&scores)[L::kKeys / 8][4], float unit) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = max[half];
#pragma unroll
      for (int n = 0; n < L::kKeys / 8; ++n) {
        largest = fmaxf(largest, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      }
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
      // A row may have seen no key yet: every weight is 0 then.
      const float origin = largest == kNoMax ? 0.0F : largest * unit;
      const float factor = fast_exp2(max[half] * unit - origin);
      max[half] = largest;
      float added = 0;
#pragma unroll
      for (int n = 0; n < L::kKeys / 8; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[n][i] = fast_exp2(fmaf(scores[n][i], unit, -origin));
          added += scores[n][i];
        }
      }
      sum[half] = sum[half] * factor + added;
#pragma unroll
      for (int n = 0; n < kDims / 8; ++n) {
        sums[n][2 * half] *= factor;
        sums[n][2 * half + 1] *= factor;
      }
    }
  }

  __device__ void add_values(const float (&weights)[L::kKeys / 8][4], std::uint32_t values,
                             int lane) {
    // Matrices: dims 0-7 and 8-15 of 16, each with keys 0-7 and 8-15 of 16.
    const int row = lane / 8 % 2 * 8 + lane % 8;
    const std::uint32_t at = values + 16 * static_cast<std::uint32_t>(row * L::kStride + lane / 16);
#pragma unroll
    for (int n = 0; n < L::kKeys / 16; ++n) {
      // What a product leaves behind is laid out as the left operand of the next takes it.
      const auto& first = weights[2 * n];
      const auto& second = weights[2 * n + 1];
      const std::uint32_t a[4] = {
          pack_pair<T>(first[0], first[1]), pack_pair<T>(first[2], first[3]),
          pack_pair<T>(second[0], second[1]), pack_pair<T>(second[2], second[3])};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        std::uint32_t b[4];
        load_matrices_transposed(
            b, at + 16 * static_cast<std::uint32_t>(16 * n * L::kStride + 2 * step));
        mma_16x8x16<T>(sums[2 * step], a, b[0], b[1]);
        mma_16x8x16<T>(sums[2 * step + 1], a, b[2], b[3]);
      }
    }
  }
};

template <typename T, int kDims>
__global__ void __launch_bounds__(kThreads) prefill(const AttentionJob job) {
  using L = Layout<kDims>;
  extern __shared__ uint4 shared[];
  const SequenceRows sequence = job.sequences[blockIdx.z];
  const int heads = static_cast<int>(job.params.heads);
  const int kv_heads = static_cast<int>(job.kv_heads);
  const int kv_head = static_cast<int>(blockIdx.x) % kv_heads;
  Tile tile;
  tile.group = heads / kv_heads;
  tile.head_dim = static_cast<int>(job.head_dim);
  // The last rows see the most keys: longest work first.
  tile.first_row = static_cast<int>(gridDim.x / kv_heads - 1 - blockIdx.x / kv_heads) * kRows;
  tile.end_row = min(tile.first_row + kRows, sequence.rows * tile.group);
  if (tile.first_row >= tile.end_row) return;
  const std::int64_t window = job.params.sliding_window;
  const int first_token = tile.first_row / tile.group;
  const int last_token = (tile.end_row - 1) / tile.group;
  const KeyRange first_seen = keys_seen(sequence, first_token, window);
  const KeyRange last_seen = keys_seen(sequence, last_token, window);
  tile.begin_key = first_seen.first / L::kKeys * L::kKeys;
  tile.end_key = last_seen.end;

  const KvPlace place = job.places[blockIdx.z];
  const std::int64_t head_start = 2 * kv_head * place.capacity * tile.head_dim;
  const std::byte* const keys = place.keys + head_start;
  const std::byte* const values = place.values + head_start;
  const std::uint32_t stages = shared_address(shared);
  start_tile<kDims>(keys, values, tile, tile.begin_key, stages);
  commit_copies();

  // A negative scale turns the queries round, so that a larger product is a larger score.
  const float softcap = job.params.softcap;
  const float scale = job.params.scale;
  const std::int64_t token_stride = std::int64_t{heads} * tile.head_dim;
  const std::int64_t start =
      sequence.first_row * token_stride + std::int64_t{kv_head} * tile.group * tile.head_dim;
  constexpr int kQueriesAt = L::kQueriesInRegisters ? L::kStage : 2 * L::kStage;
  load_queries<T, kDims>(job.q + start, token_stride, tile, scale < 0 ? -1.0F : 1.0F,
                         shared + kQueriesAt);
  __syncthreads();

  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int g = lane / 4;
  const int t = lane % 4;
  Rows<T, kDims> rows;
  // Matrices: rows 0-7 and 8-15, then the same with dims 8-15 of 16.
  const std::uint32_t queries =
      stages + 16 * static_cast<std::uint32_t>(kQueriesAt + (16 * warp + lane % 16) * L::kStride +
                                               lane / 16);
  if constexpr (L::kQueriesInRegisters) {
#pragma unroll
    for (int step = 0; step < Rows<T, kDims>::kSteps; ++step) {
      load_matrices(rows.q[step], queries + 32 * static_cast<std::uint32_t>(step));
    }
    __syncthreads();
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = min(tile.first_row + 16 * warp + 8 * half + g, tile.end_row - 1);
    const KeyRange seen = keys_seen(sequence, row / tile.group, window);
    rows.first_key[half] = seen.first;
    rows.last_key[half] = seen.end - 1;
  }

  const float unit = softcap > 0 ? kLog2E : fabsf(scale) * kLog2E;
  std::uint32_t stage = 0;
  for (int key = tile.begin_key; key < tile.end_key; key += L::kKeys) {
    constexpr std::uint32_t kStageBytes = 16 * L::kStage;
    wait_for_copies<0>();
    // This tile is there for all warps, and none is still at the one before, whose place is free.
    __syncthreads();
    if (key + L::kKeys < tile.end_key) {
      start_tile<kDims>(keys, values, tile, key + L::kKeys, stages + (kStageBytes - stage));
      commit_copies();
    }

    float scores[L::kKeys / 8][4] = {};
    rows.multiply_keys(queries, stages + stage, lane, scores);
    if (softcap > 0) {
#pragma unroll
      for (int n = 0; n < L::kKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          scores[n][i] = scaled_score(scores[n][i], fabsf(scale), softcap);
      }
    }
    if (key + L::kKeys > first_seen.end || key < last_seen.first) rows.hide(scores, key, t);
    rows.softmax_step(scores, unit);
    rows.add_values(scores, stages + stage + 16 * L::kTile, lane);
    stage = kStageBytes - stage;
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = rows.sum[half];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int row = tile.first_row + 16 * warp + 8 * half + g;
    if (row >= tile.end_row) continue;
    const float factor = 1.0F / sum;
    float* const to = job.out + start + row / tile.group * token_stride +
                      row % tile.group * tile.head_dim + 2 * t;
#pragma unroll
    for (int n = 0; n < kDims / 8; ++n) {
      if (8 * n < tile.head_dim) {
        *reinterpret_cast<float2*>(to + 8 * n) = {rows.sums[n][2 * half] * factor,
                                                  rows.sums[n][2 * half + 1] * factor};
      }
    }
  }
}

template <typename T, int kDims>
bool launch(const AttentionJob& job, const Queue& queue) {
  constexpr std::size_t kBytes = Layout<kDims>::kBytes;
  if (kBytes > queue.card().shared_bytes_per_block) return false;
  check(cudaFuncSetAttribute(prefill<T, kDims>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(kBytes)),
        "cudaFuncSetAttribute", queue.ordinal());
  const std::int64_t group = job.params.heads / job.kv_heads;
  const std::int64_t tiles = ceil_div(job.most_rows * group, kRows);
  // gridDim.z ends at 65,535.
  constexpr std::int64_t kMostSequences = 32768;
  for (std::int64_t first = 0; first < job.sequence_count; first += kMostSequences) {
    AttentionJob some = job;
    some.sequences += first;
    some.places += first;
    some.sequence_count = std::min(kMostSequences, job.sequence_count - first);
    const dim3 grid(static_cast<unsigned>(tiles * job.kv_heads), 1,
                    static_cast<unsigned>(some.sequence_count));
    prefill<T, kDims><<<grid, kThreads, kBytes, queue.stream()>>>(some);
    check_launch(queue, "attention");
  }
  return true;
}

template <typename T>
bool launch_for(const AttentionJob& job, const Queue& queue) {
  if (job.head_dim <= 64) return launch<T, 64>(job, queue);
  if (job.head_dim <= 80) return launch<T, 80>(job, queue);
  if (job.head_dim <= 96) return launch<T, 96>(job, queue);
  if (job.head_dim <= 128) return launch<T, 128>(job, queue);
  return launch<T, 256>(job, queue);
}

}  // namespace

bool attention_prefill(const AttentionJob& job, const Queue& queue) {
  if (job.dtype == DType::kF16) return launch_for<__half>(job, queue);
  return launch_for<__nv_bfloat16>(job, queue);
}

}  // namespace shoehorn::cuda
