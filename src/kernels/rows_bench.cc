// How long the operations between the matrix products take, for one row and for a prompt of 512.
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/activation.h"
#include "kernels/add.h"
#include "kernels/kernel_bench.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"

namespace shoehorn {
namespace {

using kernel_bench::Bench;

constexpr double kFloat = sizeof(float);

void bm_fork_join(benchmark::State& state) {
  Bench& bench = Bench::instance();
  ThreadPool& pool = bench.context().pool;
  for (auto _ : state) pool.parallel_for(pool.threads(), [](std::int64_t, int) {});
}
BENCHMARK(bm_fork_join)->UseRealTime();

void bm_rms_norm(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const std::int64_t rows = state.range(0);
  const auto width = static_cast<std::size_t>(state.range(1));
  const std::vector<float> x(static_cast<std::size_t>(rows) * width, 0.5F);
  const std::vector<float> weight(width, 1.0F);
  std::vector<float> y(x.size());
  for (auto _ : state) rms_norm(x, weight, 1e-5F, rows, y, bench.context());
  bench.report(state, 2 * kFloat * static_cast<double>(x.size()), 0);
}
BENCHMARK(bm_rms_norm)->ArgsProduct({{1, 512}, {576, 2048}})->UseRealTime();

void bm_silu_mul(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const auto size = static_cast<std::size_t>(state.range(0) * state.range(1));
  const std::vector<float> gate(size, 0.5F);
  const std::vector<float> up(size, 0.5F);
  std::vector<float> out(size);
  for (auto _ : state) silu_mul(gate, up, out, bench.context());
  bench.report(state, 3 * kFloat * static_cast<double>(size), 0);
}
BENCHMARK(bm_silu_mul)->ArgsProduct({{1, 512}, {1536, 5632}})->UseRealTime();

void bm_add(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const auto size = static_cast<std::size_t>(state.range(0) * state.range(1));
  std::vector<float> x(size, 0.5F);
  const std::vector<float> y(size, 0.5F);
  for (auto _ : state) add(x, y, bench.context());
  bench.report(state, 3 * kFloat * static_cast<double>(size), 0);
}
BENCHMARK(bm_add)->ArgsProduct({{1, 512}, {576, 2048}})->UseRealTime();

void bm_rotary_halves(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const RotaryShape shape{
      .rows = state.range(0), .heads = state.range(1), .head_dim = 64, .rotary_dim = 64};
  std::vector<float> x(static_cast<std::size_t>(shape.rows * shape.heads * 64), 0.5F);
  const std::vector<float> cos(static_cast<std::size_t>(shape.rows * 32), 0.8F);
  const std::vector<float> sin(cos.size(), 0.6F);
  for (auto _ : state) apply_rotary_halves(x, shape, cos, sin, bench.context());
  bench.report(state, 2 * kFloat * static_cast<double>(x.size()), 0);
}
BENCHMARK(bm_rotary_halves)->ArgsProduct({{1, 512}, {9, 32}})->UseRealTime();

}  // namespace
}  // namespace shoehorn
