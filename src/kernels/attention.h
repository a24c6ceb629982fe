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
///   keys, values [kv_heads, capacity, head_dim]  F32, F16 or BF16
struct KvCacheView {
  DType dtype = DType::kF32;
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  std::int64_t kv_heads = 0;
  std::int64_t capacity = 0;  // positions that a head has room for
  std::int64_t head_dim = 0;

  /// Bytes of `keys`, and of `values`.
  std::size_t bytes_each() const;
};

struct AttentionParams {
  std::int64_t heads = 0;           // a multiple of kv_heads
  float scale = 1.0F;               // usually head_dim^-1/2
  std::int64_t sliding_window = 0;  // keys a query sees, itself included; 0: all
  float softcap = 0.0F;             // scores become c · tanh(score / c); 0: none
};

/// Writes T new positions, start .. start + T - 1, converted to the cache's dtype.
///   k, v [T, kv_heads, head_dim]  float32
/// Throws ArgumentError if sizes disagree or the capacity is exceeded.
void store_kv(std::span<const float> k, std::span<const float> v, std::int64_t start,
              const KvCacheView& cache, ExecContext& ctx);

/// For query t (at position start + t) and head h, which uses kv head h / (heads / kv_heads):
///   s_j = cap(scale · q[t, h] · k_j) for start + t - sliding_window < j <= start + t
///   out[t, h] = sum_j softmax(s)_j · v_j
///
///   q, out [T, heads, head_dim]  float32; out may be q
///
/// Positions up to start + T - 1 are in the cache already. Everything is summed in float32, in an
/// order that does not depend on the number of threads. Takes attention_workspace_bytes() and
/// gives them back. Throws ArgumentError if sizes disagree, DeviceError if the workspace is too
/// small.
void attention(std::span<const float> q, std::int64_t start, const KvCacheView& cache,
               const AttentionParams& params, std::span<float> out, ExecContext& ctx);

/// Workspace that attention() takes at most for up to `queries` new tokens over up to `positions`.
std::size_t attention_workspace_bytes(std::int64_t queries, std::int64_t positions,
                                      std::int64_t heads, std::int64_t kv_heads,
                                      std::int64_t head_dim, int threads);

}  // namespace shoehorn
