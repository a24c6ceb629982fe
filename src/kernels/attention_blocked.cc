// Attention over blocks of keys with an online softmax (FlashAttention, arXiv:2205.14135). A unit
// of work is one kv head, a run of queries, whose heads that share the kv head become rows of one
// small matrix, and a run of keys. Few queries over many keys are split along the keys
// (Flash-Decoding), at multiples of a fixed size: results do not depend on the number of threads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/attention_paths.h"
#include "kernels/kv_rows.h"

namespace shoehorn {
namespace {

// Rows (queries times heads of a group) of a unit: enough uses for each widened block of keys.
constexpr std::int64_t kUnitRows = 96;
// Keys of a unit where there is only one run of queries.
constexpr std::int64_t kSplitKeys = 256;
constexpr float kNoMax = -std::numeric_limits<float>::infinity();

std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

std::int64_t queries_per_unit(std::int64_t group) {
  return std::max<std::int64_t>(1, kUnitRows / group);
}

std::int64_t splits_of(std::int64_t queries, std::int64_t positions, std::int64_t group) {
  return queries <= queries_per_unit(group) ? ceil_div(positions, kSplitKeys) : 1;
}

// Scratch of one thread, in floats.
struct ScratchLayout {
  std::int64_t rows;   // at most, of a unit
  std::int64_t width;  // of a key or a value, whichever is wider

  std::int64_t matrix() const { return ceil_div(rows * width, 16) * 16; }
  std::int64_t block() const { return kKeyBlock * width; }
  std::int64_t floats() const {
    return 2 * matrix() + 3 * block() + rows * kKeyBlock + ceil_div(2 * rows, 16) * 16;
  }
};

struct Scratch {
  float* q;           // [rows, head_dim], scaled
  float* sums;        // [rows, value_width]
  float* keys;        // [kKeyBlock, head_dim], widened
  float* transposed;  // [head_dim, kKeyBlock]
  float* values;      // [kKeyBlock, value_width], widened
  float* scores;      // [rows, kKeyBlock]
  float* max;         // [rows]
  float* sum;         // [rows]

  Scratch(float* at, const ScratchLayout& layout)
      : q(at),
        sums(q + layout.matrix()),
        keys(sums + layout.matrix()),
        transposed(keys + layout.block()),
        values(transposed + layout.block()),
        scores(values + layout.block()),
        max(scores + layout.rows * kKeyBlock),
        sum(max + layout.rows) {}
};

// Where the parts of a split call wait to be joined: for split s, query t and head h.
struct Parts {
  float* sums;  // [splits, queries, heads, value_width]
  float* max;   // [splits, queries, heads]
  float* sum;   // [splits, queries, heads]
};

struct Unit {
  std::int64_t kv_head;
  std::int64_t first_query;
  std::int64_t queries;
  std::int64_t first_key;  // a multiple of kKeyBlock
  std::int64_t end_key;
  bool has_sink;  // of the splits of a row one counts it
};

class BlockedAttention {
 public:
  BlockedAttention(const AttentionJob& job, const AttentionPath& path, Isa isa)
      : job_(job),
        path_(path),
        isa_(isa),
        group_(job.group()),
        d_(job.cache.head_dim),
        v_(job.cache.value_width()) {}

  void run(const Unit& unit, const Scratch& scratch) const {
    gather_queries(unit, scratch);
    for (std::int64_t key = unit.first_key; key < unit.end_key; key += kKeyBlock) {
      add_keys(unit, key, std::min(kKeyBlock, unit.end_key - key), scratch);
    }
  }

  // out = sums / sum for the queries of a unit that saw all its keys.
  void finish(const Unit& unit, const Scratch& scratch) const {
    for (std::int64_t r = 0; r < unit.queries * group_; ++r) {
      float* const out = job_.out + row_of(unit, r) * v_;
      std::memcpy(out, scratch.sums + r * v_, static_cast<std::size_t>(v_) * sizeof(float));
      path_.rescale(out, v_, 1.0F / scratch.sum[r]);
    }
  }

  void save_part(const Unit& unit, const Scratch& scratch, std::int64_t split,
                 const Parts& parts) const {
    for (std::int64_t r = 0; r < unit.queries * group_; ++r) {
      const std::int64_t row = split * job_.queries * job_.params.heads + row_of(unit, r);
      std::memcpy(parts.sums + row * v_, scratch.sums + r * v_,
                  static_cast<std::size_t>(v_) * sizeof(float));
      parts.max[row] = scratch.max[r];
      parts.sum[row] = scratch.sum[r];
    }
  }

 private:
  // Row of q and out, counting heads: rows of a unit go query by query, then head by head.
  std::int64_t row_of(const Unit& unit, std::int64_t r) const {
    return (unit.first_query + r / group_) * job_.params.heads + unit.kv_head * group_ + r % group_;
  }

  void gather_queries(const Unit& unit, const Scratch& scratch) const {
    const std::int64_t rows = unit.queries * group_;
    for (std::int64_t r = 0; r < rows; ++r) {
      std::memcpy(scratch.q + r * d_, job_.q + row_of(unit, r) * d_,
                  static_cast<std::size_t>(d_) * sizeof(float));
      scratch.max[r] = kNoMax;
      scratch.sum[r] = 0;
      if (job_.params.sinks != nullptr && unit.has_sink) {
        scratch.max[r] = job_.params.sinks[head_of(unit, r)];
        scratch.sum[r] = 1;
      }
    }
    path_.rescale(scratch.q, rows * d_, job_.params.scale);
    std::fill_n(scratch.sums, rows * v_, 0.0F);
  }

  std::int64_t head_of(const Unit& unit, std::int64_t r) const {
    return unit.kv_head * group_ + r % group_;
  }

  void add_biases(const Unit& unit, std::int64_t r, std::int64_t key, std::int64_t count,
                  float* scores) const {
    const std::int64_t query = job_.start + unit.first_query + r / group_;
    for (std::int64_t j = 0; j < count; ++j) {
      scores[j] += alibi_bias(job_.params.alibi, head_of(unit, r), key + j, key + j - query);
    }
  }

  // Asks for the cache's rows of the next block, which come a little later than this one's.
  void prefetch(const std::byte* cache, std::int64_t width, std::int64_t kv_head, std::int64_t key,
                std::int64_t end_key) const {
    const std::int64_t count = std::min(kKeyBlock, end_key - key);
    if (count <= 0) return;
    const std::size_t row_bytes = kv_row_bytes(job_.cache.dtype, width);
    const auto first = static_cast<std::size_t>(kv_head * job_.cache.capacity + key) * row_bytes;
    const std::size_t end = first + static_cast<std::size_t>(count) * row_bytes;
    for (std::size_t at = first; at < end; at += 64) {
      __builtin_prefetch(cache + at, /*rw=*/0, /*locality=*/2);
    }
  }

  // A run of the cache's rows as float32: where they are, if they are that already.
  const float* widened(const std::byte* cache, std::int64_t width, std::int64_t kv_head,
                       std::int64_t key, std::int64_t count, float* to) const {
    const auto first = static_cast<std::size_t>(kv_head * job_.cache.capacity + key);
    const std::byte* const from = cache + first * kv_row_bytes(job_.cache.dtype, width);
    if (job_.cache.dtype == DType::kF32) return reinterpret_cast<const float*>(from);
    decode_kv_rows(job_.cache.dtype, from, count, width, to, isa_);
    return to;
  }

  void add_keys(const Unit& unit, std::int64_t key, std::int64_t count,
                const Scratch& scratch) const {
    const std::int64_t rows = unit.queries * group_;
    // Queries before the first key of the block do not see it.
    const std::int64_t skipped =
        std::max<std::int64_t>(0, key - job_.start - unit.first_query) * group_;
    if (skipped >= rows) return;
    const float* const keys = widened(job_.cache.keys, d_, unit.kv_head, key, count, scratch.keys);
    prefetch(job_.cache.keys, d_, unit.kv_head, key + kKeyBlock, unit.end_key);
    path_.transpose(keys, count, d_, scratch.transposed);
    float* const scores = scratch.scores;
    path_.multiply(scratch.q + skipped * d_, d_, rows - skipped, d_, scratch.transposed, kKeyBlock,
                   kKeyBlock, scores + skipped * kKeyBlock, kKeyBlock, false);
    if (job_.params.softcap > 0) {
      path_.soft_cap(scores + skipped * kKeyBlock, (rows - skipped) * kKeyBlock,
                     job_.params.softcap);
    }
    for (std::int64_t r = skipped; r < rows; ++r) {
      if (job_.params.alibi.slopes != nullptr) {
        add_biases(unit, r, key, count, scores + r * kKeyBlock);
      }
      const std::int64_t t = unit.first_query + r / group_;
      const std::int64_t begin = std::clamp<std::int64_t>(job_.first_key(t) - key, 0, count);
      const std::int64_t end = std::clamp<std::int64_t>(job_.end_key(t) - key, begin, count);
      const float factor =
          path_.softmax_step(scores + r * kKeyBlock, begin, end, scratch.max + r, scratch.sum + r);
      if (factor != 1.0F) path_.rescale(scratch.sums + r * v_, v_, factor);
    }
    const float* const values =
        widened(job_.cache.values, v_, unit.kv_head, key, count, scratch.values);
    prefetch(job_.cache.values, v_, unit.kv_head, key + kKeyBlock, unit.end_key);
    path_.multiply(scores + skipped * kKeyBlock, kKeyBlock, rows - skipped, count, values, v_, v_,
                   scratch.sums + skipped * v_, v_, true);
  }

  const AttentionJob& job_;
  const AttentionPath& path_;
  Isa isa_;
  std::int64_t group_;
  std::int64_t d_;  // of a key
  std::int64_t v_;  // of a value
};

// out = sum_s e^(max_s - max) · sums_s / sum_s e^(max_s - max) · sum_s, split after split.
void join_parts(const AttentionJob& job, const AttentionPath& path, const Parts& parts,
                std::int64_t splits) {
  const std::int64_t d = job.cache.value_width();
  const std::int64_t rows = job.queries * job.params.heads;
  for (std::int64_t row = 0; row < rows; ++row) {
    float max = kNoMax;
    for (std::int64_t s = 0; s < splits; ++s) max = std::max(max, parts.max[s * rows + row]);
    float* const out = job.out + row * d;
    std::fill_n(out, d, 0.0F);
    float sum = 0;
    for (std::int64_t s = 0; s < splits; ++s) {
      const std::int64_t part = s * rows + row;
      if (parts.sum[part] == 0) continue;  // the window ends before this split
      const float factor = std::exp(parts.max[part] - max);
      sum += factor * parts.sum[part];
      for (std::int64_t i = 0; i < d; ++i) out[i] += factor * parts.sums[part * d + i];
    }
    path.rescale(out, d, 1.0F / sum);
  }
}

}  // namespace

void attention_blocked(const AttentionJob& job, const AttentionPath& path, ExecContext& ctx) {
  const std::int64_t group = job.group();
  const std::int64_t per_unit = queries_per_unit(group);
  const std::int64_t runs = ceil_div(job.queries, per_unit);
  const std::int64_t splits = splits_of(job.queries, job.start + job.queries, group);
  const std::int64_t d = std::max(job.cache.head_dim, job.cache.value_width());
  const ScratchLayout layout{.rows = std::min(per_unit, job.queries) * group, .width = d};
  const std::size_t mark = ctx.workspace.mark();
  float* const scratch =
      ctx.workspace.take<float>(static_cast<std::size_t>(layout.floats() * ctx.pool.threads()))
          .data();
  Parts parts{};
  if (splits > 1) {
    const std::int64_t rows = splits * job.queries * job.params.heads;
    parts.sums = ctx.workspace.take<float>(static_cast<std::size_t>(rows * (d + 2))).data();
    parts.max = parts.sums + rows * d;
    parts.sum = parts.max + rows;
  }
  const BlockedAttention blocked(job, path, ctx.isa);
  const auto run_piece = [&](std::int64_t piece, int thread) {
    const std::int64_t split = piece % splits;
    const std::int64_t kv_head = piece / splits % job.cache.kv_heads;
    // The last queries see the most keys: longest work first.
    const std::int64_t run = runs - 1 - piece / splits / job.cache.kv_heads;
    Unit unit{.kv_head = kv_head,
              .first_query = run * per_unit,
              .queries = std::min(per_unit, job.queries - run * per_unit),
              .first_key = job.first_key(run * per_unit) / kKeyBlock * kKeyBlock,
              .end_key = 0,
              .has_sink = split == 0};
    unit.end_key = job.end_key(unit.first_query + unit.queries - 1);
    if (splits > 1) {
      unit.first_key = std::max(unit.first_key, split * kSplitKeys);
      unit.end_key = std::min(unit.end_key, (split + 1) * kSplitKeys);
    }
    const Scratch mine(scratch + thread * layout.floats(), layout);
    blocked.run(unit, mine);
    if (splits > 1) {
      blocked.save_part(unit, mine, split, parts);
    } else {
      blocked.finish(unit, mine);
    }
  };
  const std::int64_t pieces = runs * job.cache.kv_heads * splits;
  // A few keys are done before another core has noticed.
  constexpr std::int64_t kAloneProducts = 65536;
  if (job.queries * (job.start + job.queries) * job.params.heads * d <= kAloneProducts) {
    for (std::int64_t piece = 0; piece < pieces; ++piece) run_piece(piece, 0);
  } else {
    ctx.pool.parallel_for(pieces, run_piece);
  }
  if (splits > 1) join_parts(job, path, parts, splits);
  ctx.workspace.release(mark);
}

std::size_t attention_blocked_workspace_bytes(std::int64_t queries, std::int64_t positions,
                                              std::int64_t heads, std::int64_t kv_heads,
                                              std::int64_t head_dim, int threads) {
  const std::int64_t group = heads / kv_heads;
  const std::int64_t per_unit = queries_per_unit(group);
  const ScratchLayout layout{.rows = std::min(per_unit, queries) * group, .width = head_dim};
  std::int64_t floats = layout.floats() * threads + 16;
  // Fewer queries than asked for may be split over the keys where these are not.
  const std::int64_t few = std::min(queries, per_unit);
  floats += ceil_div(positions, kSplitKeys) * few * heads * (head_dim + 2);
  return static_cast<std::size_t>(floats) * sizeof(float);
}

}  // namespace shoehorn
