// How fast linear() is, held against what this machine can do, measured in the same run: bytes of
// weights a second and their share of the read bandwidth for few rows, operations a second and
// their share of the multiply-add peak for many. SHOEHORN_ISA chooses the path.
#include <algorithm>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/kernel_bench.h"
#include "kernels/linear.h"

namespace shoehorn {
namespace {

using kernel_bench::Bench;

// Enough copies of the weight that none is in a cache when its turn comes again.
constexpr std::size_t kCycleBytes = std::size_t{1} << 30;

// Arguments: dtype, rows, outputs, k.
void bm_linear(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const auto dtype = static_cast<DType>(state.range(0));
  const std::int64_t rows = state.range(1);
  const std::int64_t outputs = state.range(2);
  const std::int64_t k = state.range(3);
  const std::size_t bytes = packed_bytes(dtype, outputs * k).value();
  const std::size_t copies = std::max<std::size_t>(1, kCycleBytes / bytes);
  const std::span<const std::byte> weights = bench.read_buffer();
  std::vector<float> x(static_cast<std::size_t>(rows * k), 0.5F);
  std::vector<float> y(static_cast<std::size_t>(rows * outputs));
  std::size_t copy = 0;
  for (auto _ : state) {
    const TensorView weight{dtype, {outputs, k}, weights.data() + copy * bytes, Device{}};
    linear(weight, {}, x, rows, y, bench.context());
    copy = (copy + 1) % copies;
  }
  state.SetLabel(std::string(to_string(dtype)));
  bench.report(state, static_cast<double>(bytes), 2.0 * static_cast<double>(rows * outputs * k));
}

void shapes(benchmark::internal::Benchmark* benchmark) {
  // 7 B: q and o, gate and up, down. 1.1 B: q and o, gate and up, down, head. 135 M: the same.
  constexpr std::int64_t kShapes[][2] = {{4096, 4096}, {11008, 4096}, {4096, 11008}, {2048, 2048},
                                         {5632, 2048}, {2048, 5632},  {32000, 2048}, {576, 576},
                                         {1536, 576},  {576, 1536},   {49152, 576}};
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32, DType::kQ4_1}) {
    for (const std::int64_t rows : {1, 2, 4, 8, 16, 32, 64, 512}) {
      for (const auto& shape : kShapes) {
        benchmark->Args({static_cast<std::int64_t>(dtype), rows, shape[0], shape[1]});
      }
    }
  }
}

BENCHMARK(bm_linear)->Apply(shapes)->UseRealTime()->MinTime(0.1);

}  // namespace
}  // namespace shoehorn
