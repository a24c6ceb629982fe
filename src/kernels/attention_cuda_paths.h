// The ways of attention on a CUDA device. Internal: attention_cuda.cu picks one. Included by .cu
// files only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cuda/queue.h"
#include "kernels/attention_cuda.h"
#include "kernels/lanes_cuda.h"

namespace shoehorn::cuda {

/// Scores are kept in units of ln 2, so that weights are powers of two.
inline constexpr float kLog2E = 1.4426950408889634F;
inline constexpr float kNoMax = -INFINITY;

/// Where parts of a split call wait to be joined: of sequence s, head h and split p.
struct AttentionParts {
  float* sums = nullptr;    // [sequences, heads, splits, value_dim]: of weights times values
  float2* stats = nullptr;  // [sequences, heads, splits]: the largest score, the sum of weights
  int splits = 1;
};

/// The positions that token t of a sequence sees.
struct KeyRange {
  int first;
  int end;
};

__device__ inline KeyRange keys_seen(const SequenceRows& sequence, int t, std::int64_t window) {
  const int end = sequence.start + t + 1;
  return {window > 0 && window < end ? end - static_cast<int>(window) : 0, end};
}

/// Keys that each of `splits` blocks takes: `keys` spread evenly, in runs of whole `grain`s. Blocks
/// from ceil(keys / this) on have none.
__device__ inline int keys_per_split(int keys, int splits, int grain) {
  return static_cast<int>(ceil_div(ceil_div(keys, splits), grain)) * grain;
}

/// cap · tanh(score · scale / cap), or score · scale.
__device__ inline float scaled_score(float score, float scale, float softcap) {
  const float scaled = score * scale;
  return softcap > 0 ? softcap * tanhf(scaled / softcap) : scaled;
}

/// shoehorn::alibi_bias(): what joins the score of position `key` for a query at `query`.
__device__ inline float alibi_bias(const Alibi& alibi, float slope, int key, int query) {
  if (!alibi.in_bf16) return alibi.scale * (slope * static_cast<float>(key - query));
  const auto rounded = [](float value) { return __bfloat162float(__float2bfloat16_rn(value)); };
  return alibi.scale * rounded(rounded(slope) * static_cast<float>(key));
}

/// A row's sum of weights 2^(score - max) and of its head's sink, if it has one.
__device__ inline float sum_with_sink(float sum, float max, const float* sinks, int head) {
  return sinks == nullptr ? sum : sum + exp2f(sinks[head] * kLog2E - max);
}

/// Everything in float32 on ordinary cores, for any dtype, size and alignment. With splits > 1 each
/// sequence has at most one row. False where a head exceeds the card's shared memory.
bool attention_plain(const AttentionJob& job, const AttentionParts& parts, const Queue& queue);
/// Keys are split in multiples of so many.
inline constexpr int kPlainGrain = 32;

/// One row a sequence, cache in 16 bits, head_dim and value_dim multiples of 8 and at most 256; q
/// and out aligned to 16 bytes. Queries and weights are kept as two numbers of the cache's dtype:
/// 16 bits of bfloat16, 22 of float16.
void attention_decode(const AttentionJob& job, const AttentionParts& parts, const Queue& queue);
inline constexpr int kDecodeGrain = 64;
/// Heads that a block serves at most.
int decode_heads_per_block(const AttentionJob& job);

/// Any number of rows, otherwise as attention_decode(). False where the card's shared memory is too
/// small for such heads.
bool attention_prefill(const AttentionJob& job, const Queue& queue);

/// out = sum_p 2^(max_p - max) · sums_p / sum_p 2^(max_p - max) · sum_p, of the splits of `grain`
/// that have keys; sinks join the sum below.
void join_attention_parts(const AttentionJob& job, const AttentionParts& parts, int grain,
                          const Queue& queue);

}  // namespace shoehorn::cuda
