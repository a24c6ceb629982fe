// What attention() is made of, by instruction set. Internal: attention.cc checks,
// attention_blocked.cc walks over blocks of keys.
#pragma once

#include <cstdint>

#include "kernels/attention.h"
#include "tensor/half.h"

namespace shoehorn {

/// Keys handled at a time.
inline constexpr std::int64_t kKeyBlock = 64;

/// A call whose sizes are checked.
struct AttentionJob {
  const float* q = nullptr;  // [queries, heads, head_dim]
  std::int64_t queries = 0;
  std::int64_t start = 0;
  KvCacheView cache;
  AttentionParams params;
  float* out = nullptr;  // [queries, heads, value_width()]

  std::int64_t group() const { return params.heads / cache.kv_heads; }
  /// The first position that query t sees, and one past the last.
  std::int64_t first_key(std::int64_t t) const {
    const std::int64_t first =
        params.sliding_window > 0 ? start + t + 1 - params.sliding_window : 0;
    return first > 0 ? first : 0;
  }
  std::int64_t end_key(std::int64_t t) const { return start + t + 1; }
};

/// What joins the score of a key that lies `ahead` of the query (0 or less) at position `key`.
inline float alibi_bias(const Alibi& alibi, std::int64_t head, std::int64_t key,
                        std::int64_t ahead) {
  const auto bf16 = [](float value) { return bf16_to_f32(f32_to_bf16(value)); };
  // Rounded to bfloat16 it has to be the reference's number; else the smaller one is more exact.
  if (!alibi.in_bf16) return alibi.scale * (alibi.slopes[head] * static_cast<float>(ahead));
  return alibi.scale * bf16(bf16(alibi.slopes[head]) * static_cast<float>(key));
}

/// The inner loops of the blocked walk.
struct AttentionPath {
  /// out[i, j] = rows[j, i] for i < size, j < count <= kKeyBlock; out rows are kKeyBlock apart and
  /// zero from count on.
  void (*transpose)(const float* rows, std::int64_t count, std::int64_t size, float* out);
  /// c[m, n] (+)= sum_k a[m, k] · b[k, n] for m < rows, n < columns.
  void (*multiply)(const float* a, std::int64_t lda, std::int64_t rows, std::int64_t depth,
                   const float* b, std::int64_t ldb, std::int64_t columns, float* c,
                   std::int64_t ldc, bool accumulate);
  /// scores[i] = cap · tanh(scores[i] / cap) for i < count.
  void (*soft_cap)(float* scores, std::int64_t count, float cap);
  /// One step of the online softmax over scores [kKeyBlock] of which begin <= i < end are seen:
  /// they become exp(score - max), the others 0; max and sum are brought up to date. Returns what
  /// earlier sums are to be multiplied by.
  float (*softmax_step)(float* scores, std::int64_t begin, std::int64_t end, float* max,
                        float* sum);
  /// row[i] *= factor.
  void (*rescale)(float* row, std::int64_t size, float factor);
};

namespace ref {
void attention(const AttentionJob& job, ExecContext& ctx);
}
namespace avx2 {
extern const AttentionPath kAttention;
}
namespace avx512 {
extern const AttentionPath kAttention;
}

void attention_blocked(const AttentionJob& job, const AttentionPath& path, ExecContext& ctx);

/// Their shares of attention_workspace_bytes().
std::size_t attention_ref_workspace_bytes(std::int64_t positions, int threads);
std::size_t attention_blocked_workspace_bytes(std::int64_t queries, std::int64_t positions,
                                              std::int64_t heads, std::int64_t kv_heads,
                                              std::int64_t head_dim, int threads);

}  // namespace shoehorn
