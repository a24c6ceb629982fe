// How fast linear() is with four-bit weights: bytes of codes and scales a second and their share of
// the read bandwidth for few rows, operations a second and their share of the float32 multiply-add
// peak for many. The label names the form and what it is computed with.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/host_buffer.h"
#include "kernels/kernel_bench.h"
#include "kernels/linear.h"
#include "kernels/testing_four_bit.h"

namespace shoehorn {
namespace {

using kernel_bench::Bench;
using kernel_test::FourBitWeight;

// Enough copies of the weight that none is in a cache when its turn comes again.
constexpr std::size_t kCycleBytes = std::size_t{1} << 30;

// Arguments: compute dtype, nested, rows, outputs, k.
void bm_linear_four_bit(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const auto dtype = static_cast<ComputeDtype>(state.range(0));
  const WeightForm form{.quant_type = QuantType::kNF4, .nested = state.range(1) != 0};
  const std::int64_t rows = state.range(2);
  const std::int64_t outputs = state.range(3);
  const std::int64_t k = state.range(4);
  FourBitWeight weight(form, outputs, k, 1);
  const std::size_t bytes = weight.layout().bytes;
  const std::size_t copies = std::max<std::size_t>(1, kCycleBytes / bytes);
  HostBuffer buffer(copies * bytes);
  for (std::size_t i = 0; i < copies; ++i) {
    std::memcpy(buffer.data() + i * bytes, weight.data(), bytes);
  }
  const std::vector<float> x = kernel_test::random_floats(rows * k, 2);
  std::vector<float> y(static_cast<std::size_t>(rows * outputs));
  std::size_t copy = 0;
  for (auto _ : state) {
    WeightView view = weight.view(dtype);
    view.data = buffer.data() + copy * bytes;
    linear(view, {}, x, rows, y, bench.context());
    copy = (copy + 1) % copies;
  }
  state.SetLabel("nf4" + std::string(form.nested ? " nested " : " ") +
                 std::string(to_string(dtype)));
  bench.report(state, static_cast<double>(bytes), 2.0 * static_cast<double>(rows * outputs * k));
}

void shapes(benchmark::internal::Benchmark* benchmark) {
  // 1.1 B: q and o, gate and up, down. 135 M: q and o, gate and up, down.
  constexpr std::int64_t kShapes[][2] = {{2048, 2048}, {5632, 2048}, {2048, 5632},
                                         {576, 576},   {1536, 576},  {576, 1536}};
  for (const ComputeDtype dtype : {ComputeDtype::kF32, ComputeDtype::kBF16, ComputeDtype::kInt8}) {
    for (const int nested : {0, 1}) {
      for (const std::int64_t rows : {1, 2, 4, 8, 16, 128, 512}) {
        for (const auto& shape : kShapes) {
          benchmark->Args({static_cast<std::int64_t>(dtype), nested, rows, shape[0], shape[1]});
        }
      }
    }
  }
}

BENCHMARK(bm_linear_four_bit)->Apply(shapes)->UseRealTime()->MinTime(0.1);

}  // namespace
}  // namespace shoehorn
