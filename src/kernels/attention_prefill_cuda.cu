// Many new tokens over a cache in 16 bits: FlashAttention-2 (arXiv:2307.08691) on the tensor cores
// of one warp. A block takes 128 rows of one sequence and kv head, where a row is a token and one
// of the query heads that share the kv head, token by token: the heads of a group use the same
// keys. Each of its 8 warps owns 16 rows; tiles of keys and values stream through shared memory,
// one being copied while the one before is used. Tiles that no row of the block sees are left out.
#include <algorithm>
#include <cmath>

#include "kernels/attention_cuda_paths.h"
#include "kernels/launch_cuda.h"
#include "kernels/mma_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kRows = 16 * kWarps;

// Shared memory in units of 16 bytes. Rows are an odd number of them apart, so that the 8 rows that
// ldmatrix reads at once lie in different banks.
struct RowLayout {
  int chunks;  // of 16 bytes
  int stride;
};

constexpr RowLayout row_layout(int dims) {
  const int chunks = dims / 8;
  return {chunks, chunks % 2 == 0 ? chunks + 1 : chunks};
}

// kDims, kValueDims: head_dim and value_dim, rounded up. Up to 128 dims both are the same, so that
// keys and values share the arithmetic of addresses.
template <int kDims, int kValueDims>
struct Layout {
  static constexpr RowLayout kKey = row_layout(kDims);  // and query
  static constexpr RowLayout kValue = row_layout(kValueDims);
  static constexpr bool kWidthsDiffer = kDims > 128;
  static constexpr int kKeys = kDims <= 128 ? 64 : 32;
  static constexpr int kKeyTile = kKeys * kKey.stride;
  static constexpr int kStage = kKeyTile + kKeys * kValue.stride;  // keys, then values
  static constexpr int kQueries = kRows * kKey.stride;
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
  int value_dim;
  int begin_key;  // a multiple of kKeys
  int end_key;
};

// The rows of the block as numbers of 16 bits, zero beyond the sequence and head_dim.
template <typename T, typename L>
__device__ void load_queries(const float* q, std::int64_t token_stride, const Tile& tile,
                             float sign, uint4* to) {
  for (int i = static_cast<int>(threadIdx.x); i < kRows * L::kKey.chunks; i += kThreads) {
    const int r = i / L::kKey.chunks;
    const int chunk = i % L::kKey.chunks;
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
    to[r * L::kKey.stride + chunk] = packed;
  }
}

// Starts copying rows key .. key + kKeys - 1 of caches that are as wide, one tile behind the other,
// zeros from end_key on.
template <int kKeys, int kChunks, int kStride, int kCaches>
__device__ void start_rows(const std::byte* const (&caches)[kCaches], int width, int key,
                           int end_key, std::uint32_t to) {
  const std::int64_t row_bytes = 2 * std::int64_t{width};
#pragma unroll
  for (int begin = 0; begin < kKeys * kChunks; begin += kThreads) {
    const int i = begin + static_cast<int>(threadIdx.x);
    if (kKeys * kChunks % kThreads != 0 && i >= kKeys * kChunks) break;
    const int r = i / kChunks;
    const int chunk = i % kChunks;
    const bool is_there = key + r < end_key && 8 * chunk < width;
    const std::int64_t from = is_there ? (key + r) * row_bytes + 16 * chunk : 0;
    const std::uint32_t at = to + 16 * static_cast<std::uint32_t>(r * kStride + chunk);
#pragma unroll
    for (int cache = 0; cache < kCaches; ++cache) {
      copy_16_or_zero(at + 16 * kKeys * kStride * cache, caches[cache] + from, is_there);
    }
  }
}

template <typename L>
__device__ void start_tile(const std::byte* keys, const std::byte* values, const Tile& tile,
                           int key, std::uint32_t to) {
  if constexpr (L::kWidthsDiffer) {
    start_rows<L::kKeys, L::kKey.chunks, L::kKey.stride>({keys}, tile.head_dim, key, tile.end_key,
                                                         to);
    start_rows<L::kKeys, L::kValue.chunks, L::kValue.stride>({values}, tile.value_dim, key,
                                                             tile.end_key, to + 16 * L::kKeyTile);
  } else {
    start_rows<L::kKeys, L::kKey.chunks, L::kKey.stride>({keys, values}, tile.head_dim, key,
                                                         tile.end_key, to);
  }
}

// The 16 rows of a warp. A lane holds parts of rows g and g + 8.
template <typename T, int kDims, int kValueDims>
struct Rows {
  using L = Layout<kDims, kValueDims>;
  static constexpr int kSteps = kDims / 16;

  std::uint32_t q[L::kQueriesInRegisters ? kSteps : 1][4];
  float sums[kValueDims / 8][4] = {};
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
        keys + 16 * static_cast<std::uint32_t>(row * L::kKey.stride + lane / 8 % 2);
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
        load_matrices(b, at + 16 * static_cast<std::uint32_t>(16 * n * L::kKey.stride + 2 * step));
        mma_16x8x16<T>(scores[2 * n], a, b[0], b[1]);
        mma_16x8x16<T>(scores[2 * n + 1], a, b[2], b[3]);
      }
    }
  }

  // `slopes`: of the heads of both rows. The last key that a row sees is its own.
  __device__ void add_biases(float (&scores)[L::kKeys / 8][4], const Alibi& alibi,
                             const float (&slopes)[2], int key, int t) const {
#pragma unroll
    for (int n = 0; n < L::kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = key + 8 * n + 2 * t + i % 2;
        scores[n][i] += alibi_bias(alibi, slopes[i / 2], at, last_key[i / 2]);
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
      for (int n = 0; n < kValueDims / 8; ++n) {
        sums[n][2 * half] *= factor;
        sums[n][2 * half + 1] *= factor;
      }
    }
  }

  __device__ void add_values(const float (&weights)[L::kKeys / 8][4], std::uint32_t values,
                             int lane) {
    // Matrices: dims 0-7 and 8-15 of 16, each with keys 0-7 and 8-15 of 16.
    const int row = lane / 8 % 2 * 8 + lane % 8;
    const std::uint32_t at =
        values + 16 * static_cast<std::uint32_t>(row * L::kValue.stride + lane / 16);
#pragma unroll
    for (int n = 0; n < L::kKeys / 16; ++n) {
      // What a product leaves behind is laid out as the left operand of the next takes it.
      const auto& first = weights[2 * n];
      const auto& second = weights[2 * n + 1];
      const std::uint32_t a[4] = {
          pack_pair<T>(first[0], first[1]), pack_pair<T>(first[2], first[3]),
          pack_pair<T>(second[0], second[1]), pack_pair<T>(second[2], second[3])};
#pragma unroll
      for (int step = 0; step < kValueDims / 16; ++step) {
        std::uint32_t b[4];
        load_matrices_transposed(
            b, at + 16 * static_cast<std::uint32_t>(16 * n * L::kValue.stride + 2 * step));
        mma_16x8x16<T>(sums[2 * step], a, b[0], b[1]);
        mma_16x8x16<T>(sums[2 * step + 1], a, b[2], b[3]);
      }
    }
  }
};

template <typename T, int kDims, int kValueDims, bool kHasBiases>
__global__ void __launch_bounds__(kThreads) prefill(const AttentionJob job) {
  using L = Layout<kDims, kValueDims>;
  SHOEHORN_DYNAMIC_SHARED(uint4, shared);
  const SequenceRows sequence = job.sequences[blockIdx.z];
  const int heads = static_cast<int>(job.params.heads);
  const int kv_heads = static_cast<int>(job.kv_heads);
  const int kv_head = static_cast<int>(blockIdx.x) % kv_heads;
  Tile tile;
  tile.group = heads / kv_heads;
  tile.head_dim = static_cast<int>(job.head_dim);
  tile.value_dim = L::kWidthsDiffer ? static_cast<int>(job.value_dim) : tile.head_dim;
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
  const std::int64_t head_start = 2 * kv_head * place.capacity;
  const std::byte* const keys = place.keys + head_start * tile.head_dim;
  const std::byte* const values = place.values + head_start * tile.value_dim;
  const std::uint32_t stages = shared_address(shared);
  start_tile<L>(keys, values, tile, tile.begin_key, stages);
  commit_copies();

  // A negative scale turns the queries round, so that a larger product is a larger score.
  const float softcap = job.params.softcap;
  const float scale = job.params.scale;
  const std::int64_t token_stride = std::int64_t{heads} * tile.head_dim;
  const std::int64_t first_head = std::int64_t{sequence.first_row} * heads + kv_head * tile.group;
  constexpr int kQueriesAt = L::kQueriesInRegisters ? L::kStage : 2 * L::kStage;
  load_queries<T, L>(job.q + first_head * tile.head_dim, token_stride, tile,
                     scale < 0 ? -1.0F : 1.0F, shared + kQueriesAt);
  __syncthreads();

  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int g = lane / 4;
  const int t = lane % 4;
  Rows<T, kDims, kValueDims> rows;
  // Matrices: rows 0-7 and 8-15, then the same with dims 8-15 of 16.
  const std::uint32_t queries =
      stages + 16 * static_cast<std::uint32_t>(
                        kQueriesAt + (16 * warp + lane % 16) * L::kKey.stride + lane / 16);
  if constexpr (L::kQueriesInRegisters) {
#pragma unroll
    for (int step = 0; step < rows.kSteps; ++step) {
      load_matrices(rows.q[step], queries + 32 * static_cast<std::uint32_t>(step));
    }
    __syncthreads();
  }
  float slopes[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = min(tile.first_row + 16 * warp + 8 * half + g, tile.end_row - 1);
    const KeyRange seen = keys_seen(sequence, row / tile.group, window);
    rows.first_key[half] = seen.first;
    rows.last_key[half] = seen.end - 1;
    if constexpr (kHasBiases) {
      slopes[half] = job.params.alibi.slopes[kv_head * tile.group + row % tile.group];
    }
  }

  const bool is_scaled_later = softcap <= 0 && !kHasBiases;
  const float unit = is_scaled_later ? fabsf(scale) * kLog2E : kLog2E;
  std::uint32_t stage = 0;
  for (int key = tile.begin_key; key < tile.end_key; key += L::kKeys) {
    constexpr std::uint32_t kStageBytes = 16 * L::kStage;
    wait_for_copies<0>();
    // This tile is there for all warps, and none is still at the one before, whose place is free.
    __syncthreads();
    if (key + L::kKeys < tile.end_key) {
      start_tile<L>(keys, values, tile, key + L::kKeys, stages + (kStageBytes - stage));
      commit_copies();
    }

    float scores[L::kKeys / 8][4] = {};
    rows.multiply_keys(queries, stages + stage, lane, scores);
    if (!is_scaled_later) {
#pragma unroll
      for (int n = 0; n < L::kKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          scores[n][i] = scaled_score(scores[n][i], fabsf(scale), softcap);
        }
      }
    }
    if constexpr (kHasBiases) rows.add_biases(scores, job.params.alibi, slopes, key, t);
    if (key + L::kKeys > first_seen.end || key < last_seen.first) rows.hide(scores, key, t);
    rows.softmax_step(scores, unit);
    rows.add_values(scores, stages + stage + 16 * L::kKeyTile, lane);
    stage = kStageBytes - stage;
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = rows.sum[half];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int row = tile.first_row + 16 * warp + 8 * half + g;
    if (row >= tile.end_row) continue;
    const int head = row % tile.group;
    const float factor = 1.0F / sum_with_sink(sum, rows.max[half] * unit, job.params.sinks,
                                              kv_head * tile.group + head);
    float* const to =
        job.out + (first_head + std::int64_t{row / tile.group} * heads + head) * tile.value_dim +
        2 * t;
#pragma unroll
    for (int n = 0; n < kValueDims / 8; ++n) {
      if (8 * n < tile.value_dim) {
        *reinterpret_cast<float2*>(to + 8 * n) = {rows.sums[n][2 * half] * factor,
                                                  rows.sums[n][2 * half + 1] * factor};
      }
    }
  }
}

template <typename T, int kDims, int kValueDims, bool kHasBiases>
bool launch_kernel(const AttentionJob& job, const Queue& queue) {
  constexpr std::size_t kBytes = Layout<kDims, kValueDims>::kBytes;
  if (kBytes > queue.card().shared_bytes_per_block) return false;
  const auto kernel = prefill<T, kDims, kValueDims, kHasBiases>;
  allow_shared(queue, kernel, kBytes);
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
    launch_in_turn(queue, "attention", kernel, grid, kThreads, kBytes, some);
  }
  return true;
}

template <typename T, int kDims, int kValueDims = kDims>
bool launch(const AttentionJob& job, const Queue& queue) {
  return job.params.alibi.slopes != nullptr
             ? launch_kernel<T, kDims, kValueDims, true>(job, queue)
             : launch_kernel<T, kDims, kValueDims, false>(job, queue);
}

template <typename T>
bool launch_for(const AttentionJob& job, const Queue& queue) {
  if (job.head_dim == job.value_dim) {
    if (job.head_dim <= 64) return launch<T, 64>(job, queue);
    if (job.head_dim <= 80) return launch<T, 80>(job, queue);
    if (job.head_dim <= 96) return launch<T, 96>(job, queue);
    if (job.head_dim <= 128) return launch<T, 128>(job, queue);
  }
  // Latent attention: DeepSeek's keys are half as wide again as its values.
  if (job.head_dim <= 192 && job.value_dim <= 128) return launch<T, 192, 128>(job, queue);
  return launch<T, 256>(job, queue);
}

}  // namespace

bool attention_prefill(const AttentionJob& job, const Queue& queue) {
  if (job.dtype == DType::kF16) return launch_for<__half>(job, queue);
  return launch_for<__nv_bfloat16>(job, queue);
}

}  // namespace shoehorn::cuda
