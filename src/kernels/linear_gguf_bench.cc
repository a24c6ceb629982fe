// How fast linear() reads GGUF blocks: bytes of weights a second and their share of the read
// bandwidth, for the few rows of x of a decoding step. SHOEHORN_ISA chooses the path.
#include <algorithm>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/kernel_bench.h"
#include "kernels/linear.h"

namespace shoehorn {
namespace {

using kernel_bench::Bench;

// Arguments: dtype, rows, outputs, k. Copies of the weight fill the buffer, so that none is in a
// cache when its turn comes again. Their scales are 0x1111, small numbers.
void bm_linear_gguf(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const auto dtype = static_cast<DType>(state.range(0));
  const std::int64_t rows = state.range(1);
  const std::int64_t outputs = state.range(2);
  const std::int64_t k = state.range(3);
  const std::size_t bytes = packed_bytes(dtype, outputs * k).value();
  const std::span<const std::byte> weights = bench.read_buffer();
  const std::size_t copies = std::max<std::size_t>(1, weights.size() / bytes);
  std::vector<float> x(static_cast<std::size_t>(rows * k), 0.5F);
  std::vector<float> y(static_cast<std::size_t>(rows * outputs));
  std::size_t copy = 0;
  for (auto _ : state) {
    const WeightView weight({.dtype = dtype}, {outputs, k}, weights.data() + copy * bytes,
                            Device{});
    linear(weight, {}, x, rows, y, bench.context());
    copy = (copy + 1) % copies;
  }
  state.SetLabel(std::string(to_string(dtype)));
  bench.report(state, static_cast<double>(bytes), 2.0 * static_cast<double>(rows * outputs * k));
}

void shapes(benchmark::internal::Benchmark* benchmark) {
  // 1.1 B: gate and up, down.
  constexpr std::int64_t kShapes[][2] = {{5632, 2048}, {2048, 5632}};
  for (const DType dtype :
       {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ4_K,
        DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kMXFP4}) {
    for (const std::int64_t rows : {1, 2, 4, 8}) {
      for (const auto& shape : kShapes) {
        benchmark->Args({static_cast<std::int64_t>(dtype), rows, shape[0], shape[1]});
      }
    }
  }
}

BENCHMARK(bm_linear_gguf)->Apply(shapes)->UseRealTime()->MinTime(0.1);

}  // namespace
}  // namespace shoehorn
