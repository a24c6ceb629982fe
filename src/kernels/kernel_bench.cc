#include "kernels/kernel_bench.h"

#include <cstdio>
#include <cstring>
#include <string>

#include "base/machine.h"
#include "kernels/probe.h"

namespace shoehorn::kernel_bench {
namespace {

struct Limits {
  double read_bytes_s = 0;
  double flops_s = 0;
};

// The limits drift as other things run, so they are measured again with every benchmark.
Limits measure(ExecContext& ctx, std::span<const std::byte> buffer) {
  return {.read_bytes_s = measure_read_bandwidth(ctx.pool, buffer, buffer.size(), ctx.isa),
          .flops_s = measure_f32_flops(ctx.pool, ctx.isa)};
}

}  // namespace

Bench& Bench::instance() {
  static Bench bench;
  return bench;
}

Bench::Bench()
    : pool_(usable_processors()),
      workspace_(std::size_t{128} << 20),
      context_{pool_, detect_isa(), workspace_},
      buffer_(std::size_t{1} << 30) {
  std::memset(buffer_.data(), 0x11, buffer_.size());
  const Limits limits = measure(context_, buffer_.bytes());
  std::fprintf(stderr, "%s, %d threads: reads %.1f GB/s, multiplies and adds %.0f GFLOP/s\n",
               std::string(to_string(context_.isa)).c_str(), pool_.threads(),
               limits.read_bytes_s * 1e-9, limits.flops_s * 1e-9);
}

void Bench::report(benchmark::State& state, double bytes, double flops) const {
  const ExecContext& ctx = context_;
  ExecContext again{ctx.pool, ctx.isa, ctx.workspace};
  const Limits limits = measure(again, {buffer_.data(), buffer_.size()});
  const auto turns = static_cast<double>(state.iterations());
  const auto rate = [&](double amount) {
    return benchmark::Counter(amount * turns, benchmark::Counter::kIsRate);
  };
  state.counters["bytes/s"] = rate(bytes);
  state.counters["of_read"] = rate(bytes / limits.read_bytes_s);
  if (flops == 0) return;
  state.counters["flop/s"] = rate(flops);
  state.counters["of_peak"] = rate(flops / limits.flops_s);
}

}  // namespace shoehorn::kernel_bench
