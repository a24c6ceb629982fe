// The front door of attention: checks sizes and picks the path.
#include "kernels/attention.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "cuda/memory.h"
#include "cuda/queue.h"
#include "kernels/attention_cuda.h"
#include "kernels/attention_paths.h"
#include "kernels/kv_rows.h"
#include "kernels/ranges.h"

namespace shoehorn {
namespace {

void require_cache(const KvCacheView& cache) {
  if (!is_kv_dtype(cache.dtype)) {
    throw UnsupportedError(
        str_cat("attention: a cache of ", to_string(cache.dtype), "; F32, F16, BF16 and I8 are"));
  }
  if (cache.kv_heads < 1 || cache.head_dim < 1 || cache.value_dim < 0 || cache.capacity < 0) {
    throw ArgumentError(str_cat("attention: a cache of ", cache.kv_heads, " heads, ",
                                cache.capacity, " positions, head_dim ", cache.head_dim));
  }
}

void require_room(const KvCacheView& cache, std::int64_t start, std::int64_t count) {
  if (start < 0 || start > cache.capacity || count > cache.capacity - start) {
    throw ArgumentError(str_cat("attention: positions ", start, " to ", start + count - 1,
                                " in a cache of ", cache.capacity));
  }
}

// A job of one sequence for a CUDA device. Its tables are copied there now, which waits for the
// device; passes of a model use tables of their own.
cuda::AttentionJob card_job(std::int64_t rows, std::int64_t start, const KvCacheView& cache,
                            ExecContext& ctx) {
  const cuda::SequenceRows sequence{.first_row = 0,
                                    .rows = static_cast<std::int32_t>(rows),
                                    .start = static_cast<std::int32_t>(start)};
  const cuda::KvPlace place{.keys = cache.keys, .values = cache.values, .capacity = cache.capacity};
  const auto sequences = ctx.workspace.take<cuda::SequenceRows>(1);
  const auto places = ctx.workspace.take<cuda::KvPlace>(1);
  cuda::upload(*ctx.queue, sequences.data(), &sequence, sizeof(sequence));
  cuda::upload(*ctx.queue, places.data(), &place, sizeof(place));
  cuda::AttentionJob job;
  job.sequences = sequences.data();
  job.places = places.data();
  job.sequence_count = 1;
  job.rows = rows;
  job.most_rows = rows;
  job.most_positions = start + rows;
  job.dtype = cache.dtype;
  job.kv_heads = cache.kv_heads;
  job.head_dim = cache.head_dim;
  job.value_dim = cache.value_width();
  return job;
}

}  // namespace

std::size_t KvCacheView::bytes_each() const {
  return static_cast<std::size_t>(kv_heads * capacity) * kv_row_bytes(dtype, head_dim);
}

void store_kv(std::span<const float> k, std::span<const float> v, std::int64_t start,
              const KvCacheView& cache, ExecContext& ctx) {
  require_cache(cache);
  const std::int64_t row = cache.kv_heads * cache.head_dim;
  const std::int64_t value_row = cache.kv_heads * cache.value_width();
  const auto count = static_cast<std::int64_t>(k.size()) / row;
  if (static_cast<std::int64_t>(k.size()) != count * row ||
      static_cast<std::int64_t>(v.size()) != count * value_row) {
    throw ArgumentError(str_cat("store_kv: k of ", k.size(), " and v of ", v.size(),
                                " values are not rows of ", cache.kv_heads, " heads of ",
                                cache.head_dim, " and ", cache.value_width()));
  }
  require_room(cache, start, count);
  if (ctx.queue != nullptr) {
    const std::size_t mark = ctx.workspace.mark();
    cuda::AttentionJob job = card_job(count, start, cache, ctx);
    job.k = k.data();
    job.v = v.data();
    cuda::store_kv(job, ctx);
    ctx.workspace.release(mark);
    return;
  }
  const std::size_t key_bytes = kv_row_bytes(cache.dtype, cache.head_dim);
  const std::size_t value_bytes = kv_row_bytes(cache.dtype, cache.value_width());
  const std::int64_t grain = 8192 / (row + 1);  // about 10 us
  for_ranges(ctx.pool, count, grain, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t head = 0; head < cache.kv_heads; ++head) {
        const auto to = static_cast<std::size_t>(head * cache.capacity + start + t);
        encode_kv_row(cache.dtype, k.data() + t * row + head * cache.head_dim, cache.head_dim,
                      cache.keys + to * key_bytes, ctx.isa);
        encode_kv_row(cache.dtype, v.data() + t * value_row + head * cache.value_width(),
                      cache.value_width(), cache.values + to * value_bytes, ctx.isa);
      }
    }
  });
}

void attention(std::span<const float> q, std::int64_t start, const KvCacheView& cache,
               const AttentionParams& params, std::span<float> out, ExecContext& ctx) {
  require_cache(cache);
  if (params.heads < 1 || params.heads % cache.kv_heads != 0) {
    throw ArgumentError(str_cat("attention: ", params.heads, " heads do not share ", cache.kv_heads,
                                " kv heads evenly"));
  }
  const std::int64_t row = params.heads * cache.head_dim;
  const auto queries = static_cast<std::int64_t>(q.size()) / row;
  const std::int64_t out_row = params.heads * cache.value_width();
  if (static_cast<std::int64_t>(out.size()) != queries * out_row ||
      static_cast<std::int64_t>(q.size()) != queries * row) {
    throw ArgumentError(str_cat("attention: q of ", q.size(), " and out of ", out.size(),
                                " values are not rows of ", params.heads, " heads of ",
                                cache.head_dim));
  }
  require_room(cache, start, queries);
  if (queries == 0) return;
  if (ctx.queue != nullptr) {
    const std::size_t mark = ctx.workspace.mark();
    cuda::AttentionJob job = card_job(queries, start, cache, ctx);
    job.q = q.data();
    job.out = out.data();
    job.params = params;
    cuda::attention(job, ctx);
    ctx.workspace.release(mark);
    return;
  }
  const AttentionJob job{.q = q.data(),
                         .queries = queries,
                         .start = start,
                         .cache = cache,
                         .params = params,
                         .out = out.data()};
  switch (ctx.isa) {
    case Isa::kAmx:
    case Isa::kAvx512: return attention_blocked(job, avx512::kAttention, ctx);
    case Isa::kAvx2: return attention_blocked(job, avx2::kAttention, ctx);
    case Isa::kRef: return ref::attention(job, ctx);
  }
}

std::size_t attention_workspace_bytes(std::int64_t queries, std::int64_t positions,
                                      std::int64_t heads, std::int64_t kv_heads,
                                      std::int64_t head_dim, int threads) {
  return std::max(
      attention_ref_workspace_bytes(positions, threads),
      attention_blocked_workspace_bytes(queries, positions, heads, kv_heads, head_dim, threads));
}

}  // namespace shoehorn
