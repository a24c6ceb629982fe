#include "kernels/attention_probe.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "base/host_buffer.h"
#include "kernels/attention.h"
#include "kernels/kv_rows.h"

namespace shoehorn {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kEnoughSeconds = 0.004;
constexpr int kMostTimes = 100;
constexpr int kLeastTimes = 3;

}  // namespace

double attended_pairs(std::int64_t start, std::int64_t queries, std::int64_t sliding_window) {
  // The first queries see every key before them, the others a window.
  const std::int64_t unbounded =
      sliding_window > 0 ? std::clamp<std::int64_t>(sliding_window - start, 0, queries) : queries;
  const auto n = static_cast<double>(unbounded);
  return n * (static_cast<double>(start) + (n + 1) / 2) +
         static_cast<double>(queries - unbounded) * static_cast<double>(sliding_window);
}

double measure_attention_s(const AttentionShape& shape, std::int64_t start, std::int64_t queries,
                           std::size_t most_bytes, ThreadPool& pool, Isa isa) {
  const std::int64_t value_width = shape.value_dim > 0 ? shape.value_dim : shape.head_dim;
  if (shape.heads < 1 || shape.kv_heads < 1 || shape.head_dim < 1 || queries < 1) return 0;
  const std::size_t position_bytes =
      static_cast<std::size_t>(shape.kv_heads) *
      (kv_row_bytes(shape.kv_dtype, shape.head_dim) + kv_row_bytes(shape.kv_dtype, value_width));
  const auto most = static_cast<std::int64_t>(most_bytes / position_bytes);
  if (most <= queries) return 0;
  const std::int64_t measured_start = std::clamp<std::int64_t>(start, 0, most - queries);
  const std::int64_t capacity = measured_start + queries;

  KvCacheView cache{.dtype = shape.kv_dtype,
                    .kv_heads = shape.kv_heads,
                    .capacity = capacity,
                    .head_dim = shape.head_dim,
                    .value_dim = shape.value_dim};
  const auto rows = static_cast<std::size_t>(shape.kv_heads * capacity);
  HostBuffer keys(rows * kv_row_bytes(shape.kv_dtype, shape.head_dim));
  HostBuffer values(rows * kv_row_bytes(shape.kv_dtype, value_width));
  // Small finite numbers as floats; as 8-bit codes too, with scales of that kind.
  std::ranges::fill(keys.bytes(), std::byte{0x3c});
  std::ranges::fill(values.bytes(), std::byte{0x3c});
  cache.keys = keys.data();
  cache.values = values.data();

  Workspace workspace(attention_workspace_bytes(queries, capacity, shape.heads, shape.kv_heads,
                                                std::max(shape.head_dim, value_width),
                                                pool.threads()));
  ExecContext context{.pool = pool, .isa = isa, .workspace = workspace};
  const auto floats = [&](std::int64_t heads, std::int64_t width) {
    return std::vector<float>(static_cast<std::size_t>(queries * heads * width), 0.01F);
  };
  const std::vector<float> q = floats(shape.heads, shape.head_dim);
  const std::vector<float> k = floats(shape.kv_heads, shape.head_dim);
  const std::vector<float> v = floats(shape.kv_heads, value_width);
  std::vector<float> out = floats(shape.heads, value_width);
  const AttentionParams params{.heads = shape.heads,
                               .scale = 1.0F / std::sqrt(static_cast<float>(shape.head_dim)),
                               .sliding_window = shape.sliding_window};
  std::vector<double> seconds;
  const auto first = Clock::now();
  do {
    const auto begin = Clock::now();
    store_kv(k, v, measured_start, cache, context);
    attention(q, measured_start, cache, params, out, context);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  } while (seconds.size() < kLeastTimes ||
           (seconds.size() < kMostTimes &&
            std::chrono::duration<double>(Clock::now() - first).count() < kEnoughSeconds));
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::ranges::nth_element(seconds, middle);
  const auto pairs = [&](std::int64_t first) {
    return attended_pairs(first, queries, shape.sliding_window);
  };
  return *middle * pairs(std::max<std::int64_t>(start, 0)) / pairs(measured_start);
}

}  // namespace shoehorn
