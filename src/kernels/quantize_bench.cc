// How fast weights are quantized as loading does it: stored rows decoded to float32, then
// quantized, in pieces that stay in the second-level cache. bytes/s counts what is read, bfloat16
// or float32; values/s is of all threads. SHOEHORN_ISA chooses the path.
#include <algorithm>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/decode_row.h"
#include "kernels/kernel_bench.h"
#include "kernels/quantize_weight.h"

namespace shoehorn {
namespace {

using kernel_bench::Bench;

constexpr std::int64_t kK = 2048;
constexpr std::int64_t kPieceRows = 16;
constexpr std::int64_t kPiece = kPieceRows * kK;
constexpr std::int64_t kPieces = 4096;  // 128 Mi values, more than any cache

/// What one thread writes; a weight's bytes go to memory too, but a quarter as many.
struct Results {
  std::vector<float> values = std::vector<float>(kPiece);
  std::vector<std::uint8_t> codes = std::vector<std::uint8_t>(kPiece);
  std::vector<float> scales = std::vector<float>(kPiece / 32);
};

void quantize(QuantType type, const float* x, Results& out, Isa isa) {
  if (type == QuantType::kInt8) {
    benchmark::DoNotOptimize(quantize_int8_weight(x, kPieceRows, kK,
                                                  reinterpret_cast<std::int8_t*>(out.codes.data()),
                                                  out.scales.data(), isa));
  } else {
    benchmark::DoNotOptimize(
        quantize_four_bit_weight(type, 64, x, kPiece, out.codes.data(), out.scales.data(), isa));
  }
}

void count_values(benchmark::State& state, double values) {
  state.counters["values/s"] = benchmark::Counter(values * static_cast<double>(state.iterations()),
                                                  benchmark::Counter::kIsRate);
}

// Argument: quant type. Small numbers from the shared buffer's bytes, as bfloat16.
void bm_quantize_bf16(benchmark::State& state) {
  Bench& bench = Bench::instance();
  ExecContext& ctx = bench.context();
  const auto type = static_cast<QuantType>(state.range(0));
  const std::byte* const weights = bench.read_buffer().data();
  std::vector<Results> results(static_cast<std::size_t>(ctx.pool.threads()));
  for (auto _ : state) {
    ctx.pool.parallel_for(kPieces, [&](std::int64_t piece, int thread) {
      Results& out = results[static_cast<std::size_t>(thread)];
      decode_row(DType::kBF16, weights + 2 * piece * kPiece, kPiece, out.values.data(), ctx.isa);
      quantize(type, out.values.data(), out, ctx.isa);
    });
  }
  state.SetLabel(std::string(to_string(type)));
  count_values(state, static_cast<double>(kPieces * kPiece));
  bench.report(state, 2.0 * static_cast<double>(kPieces * kPiece), 0);
}

// The quantizer alone on one thread, its input in the cache.
void bm_quantize_f32(benchmark::State& state) {
  Bench& bench = Bench::instance();
  const auto type = static_cast<QuantType>(state.range(0));
  Results out;
  for (std::size_t i = 0; i < out.values.size(); ++i) {
    out.values[i] = static_cast<float>(i * 2654435761U % 65536) * 0x1p-16F - 0.5F;
  }
  for (auto _ : state) quantize(type, out.values.data(), out, bench.context().isa);
  state.SetLabel(std::string(to_string(type)));
  count_values(state, static_cast<double>(kPiece));
  bench.report(state, 4.0 * static_cast<double>(kPiece), 0);
}

void types(benchmark::internal::Benchmark* benchmark) {
  for (const QuantType type : {QuantType::kInt8, QuantType::kNF4, QuantType::kFP4}) {
    benchmark->Arg(static_cast<std::int64_t>(type));
  }
}

BENCHMARK(bm_quantize_bf16)->Apply(types)->UseRealTime()->MinTime(0.3);
BENCHMARK(bm_quantize_f32)->Apply(types)->UseRealTime()->MinTime(0.1);

}  // namespace
}  // namespace shoehorn
