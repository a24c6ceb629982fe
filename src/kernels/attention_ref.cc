// The truth of attention: every score of a row, their softmax, the weighted sum of values, in
// double precision.
#include <algorithm>
#include <cmath>

#include "base/byte_order.h"
#include "kernels/attention_paths.h"
#include "kernels/kv_rows.h"
#include "tensor/half.h"

namespace shoehorn::ref {
namespace {

/// Value i of row `row`, of rows of `width` values.
double stored(DType dtype, const std::byte* rows, std::int64_t row, std::int64_t width,
              std::int64_t i) {
  const std::byte* const values = rows + static_cast<std::size_t>(row) * kv_row_bytes(dtype, width);
  switch (dtype) {
    case DType::kF16: return f16_to_f32(read_le<std::uint16_t>(values + 2 * i));
    case DType::kBF16: return bf16_to_f32(read_le<std::uint16_t>(values + 2 * i));
    case DType::kI8: {
      const auto code =
          static_cast<std::int8_t>(values[sizeof(float) + static_cast<std::size_t>(i)]);
      return static_cast<float>(code) * read_le<float>(values);
    }
    default: return read_le<float>(values + 4 * i);
  }
}

void attend(const AttentionJob& job, std::int64_t t, std::int64_t head, double* scores) {
  const std::int64_t d = job.cache.head_dim;
  const std::int64_t first_row = head / job.group() * job.cache.capacity;
  const float* const q = job.q + (t * job.params.heads + head) * d;
  const std::int64_t v = job.cache.value_width();
  float* const out = job.out + (t * job.params.heads + head) * v;
  const std::int64_t first = job.first_key(t);
  const std::int64_t end = job.end_key(t);
  const double cap = job.params.softcap;
  const float* const sinks = job.params.sinks;
  double max = sinks != nullptr ? sinks[head] : -INFINITY;
  for (std::int64_t j = first; j < end; ++j) {
    double dot = 0;
    for (std::int64_t i = 0; i < d; ++i) {
      dot += q[i] * stored(job.cache.dtype, job.cache.keys, first_row + j, d, i);
    }
    dot *= job.params.scale;
    if (cap > 0) dot = cap * std::tanh(dot / cap);
    if (job.params.alibi.slopes != nullptr) {
      dot += alibi_bias(job.params.alibi, head, j, j - job.start - t);
    }
    scores[j - first] = dot;
    max = std::max(max, dot);
  }
  double sum = sinks != nullptr ? std::exp(sinks[head] - max) : 0;
  for (std::int64_t j = first; j < end; ++j) {
    scores[j - first] = std::exp(scores[j - first] - max);
    sum += scores[j - first];
  }
  for (std::int64_t i = 0; i < v; ++i) {
    double value = 0;
    for (std::int64_t j = first; j < end; ++j) {
      value += scores[j - first] * stored(job.cache.dtype, job.cache.values, first_row + j, v, i);
    }
    out[i] = static_cast<float>(value / sum);
  }
}

}  // namespace

void attention(const AttentionJob& job, ExecContext& ctx) {
  const std::int64_t positions = job.start + job.queries;
  const std::size_t mark = ctx.workspace.mark();
  double* const scores =
      ctx.workspace.take<double>(static_cast<std::size_t>(positions * ctx.pool.threads())).data();
  ctx.pool.parallel_for(job.queries * job.params.heads, [&](std::int64_t piece, int thread) {
    attend(job, piece / job.params.heads, piece % job.params.heads, scores + thread * positions);
  });
  ctx.workspace.release(mark);
}

}  // namespace shoehorn::ref

namespace shoehorn {

std::size_t attention_ref_workspace_bytes(std::int64_t positions, int threads) {
  return static_cast<std::size_t>(positions) * static_cast<std::size_t>(threads) * sizeof(double);
}

}  // namespace shoehorn
