// How fast linear() is with LLM.int8() weights and a few outlier features, held against the read
// bandwidth (few rows) and in operations a second (many). SHOEHORN_ISA chooses the path.
#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/kernel_bench.h"
#include "kernels/linear.h"

namespace shoehorn {
namespace {

using kernel_bench::Bench;

// Enough copies of the weight that none is in a cache when its turn comes again.
constexpr std::size_t kCycleBytes = std::size_t{1} << 30;

std::vector<float> inputs(std::int64_t rows, std::int64_t k, std::int64_t outlier_columns) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(rows * k));
  for (float& value : x) value = std::clamp(normal(random), -5.0F, 5.0F);
  for (std::int64_t i = 0; i < outlier_columns; ++i) {
    for (std::int64_t m = 0; m < rows; ++m) {
      x[static_cast<std::size_t>(m * k + i * k / outlier_columns)] = 20.0F;
    }
  }
  return x;
}

// Arguments: rows, outputs, k, outlier columns.
void bm_linear_int8(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const std::int64_t rows = state.range(0);
  const std::int64_t outputs = state.range(1);
  const std::int64_t k = state.range(2);
  const WeightForm form{.quant_type = QuantType::kInt8};
  const std::size_t bytes = form_bytes(form, {outputs, k}).value();
  const std::size_t copies = std::max<std::size_t>(1, kCycleBytes / bytes);
  const std::vector<float> x = inputs(rows, k, state.range(3));
  std::vector<float> y(static_cast<std::size_t>(rows * outputs));
  std::size_t copy = 0;
  for (auto _ : state) {
    const WeightView weight(form, {outputs, k}, bench.read_buffer().data() + copy * bytes,
                            Device{});
    linear(weight, {}, x, rows, y, bench.context());
    copy = (copy + 1) % copies;
  }
  bench.report(state, static_cast<double>(bytes), 2.0 * static_cast<double>(rows * outputs * k));
}

void shapes(benchmark::internal::Benchmark* benchmark) {
  // 1.1 B: q and o, k and v, gate and up, down. 135 M: the same but k and v.
  constexpr std::int64_t kShapes[][2] = {{2048, 2048}, {256, 2048}, {5632, 2048}, {2048, 5632},
                                         {576, 576},   {1536, 576}, {576, 1536}};
  for (const std::int64_t rows : {1, 2, 4, 8, 9, 16, 32, 64, 128, 512}) {
    for (const auto& shape : kShapes) benchmark->Args({rows, shape[0], shape[1], 6});
  }
  for (const std::int64_t columns : {0, 64, 200}) {
    for (const std::int64_t rows : {1, 512}) benchmark->Args({rows, 2048, 5632, columns});
  }
}

BENCHMARK(bm_linear_int8)->Apply(shapes)->UseRealTime()->MinTime(0.1);

}  // namespace
}  // namespace shoehorn
