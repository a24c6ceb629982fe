// How fast attention() is: bytes of the cache a second for one query, operations a second for many,
// and their shares of what this machine can do.
#include <cmath>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/host_buffer.h"
#include "kernels/attention.h"
#include "kernels/kernel_bench.h"

namespace shoehorn {
namespace {

using kernel_bench::Bench;

// Arguments: queries, start, heads, kv heads, head_dim.
void bm_attention(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const std::int64_t queries = state.range(0);
  const std::int64_t start = state.range(1);
  const std::int64_t heads = state.range(2);
  KvCacheView cache{.dtype = DType::kBF16};
  cache.kv_heads = state.range(3);
  cache.head_dim = state.range(4);
  cache.capacity = start + queries;
  HostBuffer keys(cache.bytes_each());
  HostBuffer values(cache.bytes_each());
  cache.keys = keys.data();
  cache.values = values.data();
  const auto size = static_cast<std::size_t>(queries * heads * cache.head_dim);
  const std::vector<float> new_rows(
      static_cast<std::size_t>(cache.capacity * cache.kv_heads * cache.head_dim), 0.01F);
  store_kv(new_rows, new_rows, 0, cache, bench.context());
  const std::vector<float> q(size, 0.5F);
  std::vector<float> out(size);
  const AttentionParams params{.heads = heads, .scale = 0.125F};
  for (auto _ : state) attention(q, start, cache, params, out, bench.context());
  // Each query meets start + t + 1 keys, in two products.
  const double pairs = static_cast<double>(queries) *
                       (static_cast<double>(start) + (static_cast<double>(queries) + 1) / 2);
  bench.report(state, 2.0 * static_cast<double>(cache.bytes_each()),
               4.0 * pairs * static_cast<double>(heads * cache.head_dim));
}

// 1.1 B (32 heads, 4 kv heads) and 135 M (9 and 3): decoding over short and long contexts, prefill.
BENCHMARK(bm_attention)
    ->ArgsProduct({{1}, {63, 511, 4095}, {32}, {4}, {64}})
    ->ArgsProduct({{1}, {63, 511, 4095}, {9}, {3}, {64}})
    ->ArgsProduct({{128, 512}, {0, 2048}, {32}, {4}, {64}})
    ->Args({512, 0, 9, 3, 64})
    ->UseRealTime()
    ->MinTime(0.1);

}  // namespace
}  // namespace shoehorn
