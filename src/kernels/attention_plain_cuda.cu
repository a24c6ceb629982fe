// Attention in float32 on ordinary cores, for any dtype of the cache, any width and alignment. A
// block takes a few rows of one sequence and kv head (tokens and the query heads that share it) and
// walks over tiles of 32 keys with an online softmax: its warps share the keys of a tile, then its
// threads share the dims of the values.
#include <algorithm>

#include "kernels/attention_cuda_paths.h"
#include "kernels/kv_rows_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarp;
constexpr int kTileKeys = kWarp;  // a lane a key in the softmax
static_assert(kPlainGrain == kTileKeys);

template <int kRows>
std::size_t shared_bytes(const AttentionJob& job) {
  const std::int64_t widths = job.head_dim + job.value_dim;
  return sizeof(float) * static_cast<std::size_t>(kRows * (widths + kTileKeys + 2));
}

// Grid: runs of rows, kv heads times splits, sequences.
template <typename T, int kRows>
__global__ void __launch_bounds__(kThreads)
    plain(const AttentionJob job, const AttentionParts parts) {
  SHOEHORN_DYNAMIC_SHARED(float, plain_shared);
  const SequenceRows sequence = job.sequences[blockIdx.z];
  const int heads = static_cast<int>(job.params.heads);
  const int d = static_cast<int>(job.head_dim);
  const int v = static_cast<int>(job.value_dim);
  const int group = heads / static_cast<int>(job.kv_heads);
  const int first_row = static_cast<int>(blockIdx.x) * kRows;
  const int rows = min(kRows, sequence.rows * group - first_row);
  if (rows <= 0) return;
  const int kv_head = static_cast<int>(blockIdx.y) / parts.splits;
  const int split = static_cast<int>(blockIdx.y) % parts.splits;
  const std::int64_t window = job.params.sliding_window;
  const KeyRange first_seen = keys_seen(sequence, first_row / group, window);
  const KeyRange last_seen = keys_seen(sequence, (first_row + rows - 1) / group, window);
  const int run = keys_per_split(last_seen.end - first_seen.first, parts.splits, kPlainGrain);
  const int begin = first_seen.first + split * run;
  const int end = min(begin + run, last_seen.end);
  if (begin >= end) return;

  float* const q = plain_shared;                      // [kRows, d]
  float* const sums = q + kRows * d;                  // [kRows, v]
  float* const scores = sums + kRows * v;             // [kRows, kTileKeys]
  float* const factors = scores + kRows * kTileKeys;  // [kRows]
  float* const totals = factors + kRows;              // [kRows]
  const auto head_of = [&](int r) { return kv_head * group + (first_row + r) % group; };
  // Of q and out, counting heads.
  const auto row_of = [&](int r) {
    return (std::int64_t{sequence.first_row} + (first_row + r) / group) * heads + head_of(r);
  };
  for (int r = 0; r < kRows; ++r) {
    for (int i = static_cast<int>(threadIdx.x); i < d; i += kThreads) {
      q[r * d + i] = r < rows ? job.q[row_of(r) * d + i] : 0.0F;
    }
  }
  for (int i = static_cast<int>(threadIdx.x); i < kRows * v; i += kThreads) sums[i] = 0;
  __syncthreads();

  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const KvPlace place = job.places[blockIdx.z];
  const std::int64_t key_bytes = kv_row_bytes<T>(d);
  const std::int64_t value_bytes = kv_row_bytes<T>(v);
  const std::int64_t head_start = kv_head * place.capacity;
  const std::byte* const keys = place.keys + head_start * key_bytes;
  const std::byte* const values = place.values + head_start * value_bytes;
  // Rows of this warp in the softmax: warp, warp + kWarps, ...
  constexpr int kOwnRows = (kRows + kWarps - 1) / kWarps;
  float max[kOwnRows];
  float sum[kOwnRows];
  for (int own = 0; own < kOwnRows; ++own) {
    max[own] = kNoMax;
    sum[own] = 0;
  }

  for (int key = begin; key < end; key += kTileKeys) {
    const int count = min(kTileKeys, end - key);
    for (int j = warp; j < count; j += kWarps) {
      const KvRow<T> row(keys + (key + j) * key_bytes);
      float dots[kRows] = {};
      for (int i = lane; i < d; i += kWarp) {
        const float k = row[i];
#pragma unroll
        for (int r = 0; r < kRows; ++r) dots[r] += q[r * d + i] * k;
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const float dot = warp_sum(dots[r]);
        if (lane == 0) scores[r * kTileKeys + j] = dot;
      }
    }
    __syncthreads();
#pragma unroll
    for (int own = 0; own < kOwnRows; ++own) {
      const int r = own * kWarps + warp;
      if (r >= rows) continue;
      const KeyRange seen = keys_seen(sequence, (first_row + r) / group, window);
      const bool is_seen = lane < count && key + lane >= seen.first && key + lane < seen.end;
      float score = kNoMax;
      if (is_seen) {
        score = scaled_score(scores[r * kTileKeys + lane], job.params.scale, job.params.softcap);
        const Alibi& alibi = job.params.alibi;
        if (alibi.slopes != nullptr) {
          score += alibi_bias(alibi, alibi.slopes[head_of(r)], key + lane, seen.end - 1);
        }
        score *= kLog2E;
      }
      float largest = score;
#pragma unroll
      for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, distance));
      }
      largest = fmaxf(largest, max[own]);
      // A row may have seen no key yet: every weight is 0 then.
      const float origin = largest == kNoMax ? 0.0F : largest;
      const float weight = exp2f(score - origin);
      const float factor = exp2f(max[own] - origin);
      max[own] = largest;
      sum[own] = sum[own] * factor + warp_sum(weight);
      scores[r * kTileKeys + lane] = weight;
      if (lane == 0) factors[r] = factor;
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < v; i += kThreads) {
      float totals_of_dim[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        totals_of_dim[r] = r < rows ? sums[r * v + i] * factors[r] : 0.0F;
      }
      for (int j = 0; j < count; ++j) {
        const float value = KvRow<T>(values + (key + j) * value_bytes)[i];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          // Rows beyond the last have scores that no softmax has made weights of.
          if (r < rows) totals_of_dim[r] += scores[r * kTileKeys + j] * value;
        }
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) sums[r * v + i] = totals_of_dim[r];
    }
    __syncthreads();
  }

#pragma unroll
  for (int own = 0; own < kOwnRows; ++own) {
    const int r = own * kWarps + warp;
    if (r >= rows || lane != 0) continue;
    if (parts.splits == 1) {
      totals[r] = sum_with_sink(sum[own], max[own], job.params.sinks, head_of(r));
    } else {
      parts.stats[(std::int64_t{blockIdx.z} * heads + head_of(r)) * parts.splits + split] = {
          max[own], sum[own]};
    }
  }
  __syncthreads();
  for (int r = 0; r < rows; ++r) {
    for (int i = static_cast<int>(threadIdx.x); i < v; i += kThreads) {
      if (parts.splits == 1) {
        job.out[row_of(r) * v + i] = sums[r * v + i] / totals[r];
      } else {
        const std::int64_t part =
            (std::int64_t{blockIdx.z} * heads + head_of(r)) * parts.splits + split;
        parts.sums[part * v + i] = sums[r * v + i];
      }
    }
  }
}

template <typename T, int kRows>
bool launch(const AttentionJob& job, const AttentionParts& parts, const Queue& queue) {
  const std::size_t bytes = shared_bytes<kRows>(job);
  if (bytes > queue.card().shared_bytes_per_block) return false;
  const auto kernel = plain<T, kRows>;
  allow_shared(queue, kernel, bytes);
  const std::int64_t group = job.params.heads / job.kv_heads;
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
    const dim3 grid(static_cast<unsigned>(ceil_div(job.most_rows * group, kRows)),
                    static_cast<unsigned>(job.kv_heads * parts.splits),
                    static_cast<unsigned>(some.sequence_count));
    launch_in_turn(queue, "attention", kernel, grid, kThreads, bytes, some, its_parts);
  }
  return true;
}

template <typename T>
bool launch_for(const AttentionJob& job, const AttentionParts& parts, const Queue& queue) {
  // Very wide heads leave room for one row at a time.
  return launch<T, 8>(job, parts, queue) || launch<T, 1>(job, parts, queue);
}

}  // namespace

bool attention_plain(const AttentionJob& job, const AttentionParts& parts, const Queue& queue) {
  switch (job.dtype) {
    case DType::kF16: return launch_for<__half>(job, parts, queue);
    case DType::kBF16: return launch_for<__nv_bfloat16>(job, parts, queue);
    case DType::kI8: return launch_for<std::int8_t>(job, parts, queue);
    default: return launch_for<float>(job, parts, queue);
  }
}

}  // namespace shoehorn::cuda
