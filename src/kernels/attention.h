// Causal attention of new queries against one sequence's key-value cache of one layer, with grouped
// queries. Softmax runs online over blocks of keys (FlashAttention, arXiv:2205.14135), so no row of
// scores is ever whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "tensor/dtype.h"

namespace shoehorn {

/// The keys and values of one layer and sequence; someone else owns them.
///   keys   [kv_heads, capacity, head_dim]      F32, F16, BF16 or I8, rows as in kv_rows.h
///   values [kv_heads, capacity, value_width()]
struct KvCacheView {
  DType dtype = DType::kF32;
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  std::int64_t kv_heads = 0;
  std::int64_t capacity = 0;  // positions that a head has room for
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;  // of a value, where that is not head_dim (latent attention); else 0

  std::int64_t value_width() const { return value_dim > 0 ? value_dim : head_dim; }
  /// Bytes of `keys`, and of `values` where they are as wide.
  std::size_t bytes_each() const;
};

/// Attention with linear biases (arXiv:2108.12409): the score of position j becomes
/// score + scale · slope · j, where with in_bf16 both slope and slope · j are bfloat16 (Falcon).
/// What is the same for all keys of a row does not change their softmax, so j counts from anywhere.
struct Alibi {
  const float* slopes = nullptr;  // [heads], where attention is computed; null: none
  float scale = 1.0F;
  bool in_bf16 = false;
};

struct AttentionParams {
  std::int64_t heads = 0;           // a multiple of kv_heads
  float scale = 1.0F;               // usually head_dim^-1/2
  std::int64_t sliding_window = 0;  // keys a query sees, itself included; 0: all
  float softcap = 0.0F;             // scores become c · tanh(score / c); 0: none
  Alibi alibi = {};
  /// [heads], where attention is computed: one more score of every row of a head, neither scaled
  /// nor masked, whose share of the softmax goes to no value (gpt-oss). Null: none.
  const float* sinks = nullptr;
};

/// Writes T new positions, start .. start + T - 1, converted to the cache's dtype.
///   k [T, kv_heads, head_dim], v [T, kv_heads, value_width()]  float32
/// Throws ArgumentError if sizes disagree or the capacity is exceeded.
void store_kv(std::span<const float> k, std::span<const float> v, std::int64_t start,
              const KvCacheView& cache, ExecContext& ctx);

/// For query t (at position start + t) and head h, which uses kv head h / (heads / kv_heads):
///   s_j = cap(scale · q[t, h] · k_j) + bias_j for start + t - sliding_window < j <= start + t
///   out[t, h] = sum_j softmax(s)_j · v_j
///
///   q [T, heads, head_dim], out [T, heads, value_width()]  float32; out may be q if as wide
///
/// Positions up to start + T - 1 are in the cache already. Everything is summed in float32, in an
/// order that does not depend on the number of threads. Takes attention_workspace_bytes() and
/// gives them back. On a CUDA device every pointer is an address of that card. Throws ArgumentError
/// if sizes disagree, DeviceError if the workspace is too small.
void attention(std::span<const float> q, std::int64_t start, const KvCacheView& cache,
               const AttentionParams& params, std::span<float> out, ExecContext& ctx);

/// Workspace that attention() takes at most for up to `queries` new tokens over up to `positions`.
std::size_t attention_workspace_bytes(std::int64_t queries, std::int64_t positions,
                                      std::int64_t heads, std::int64_t kv_heads,
                                      std::int64_t head_dim, int threads);

}  // namespace shoehorn
