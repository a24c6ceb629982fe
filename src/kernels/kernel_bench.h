// What the kernel benchmarks share: one pool and context, and this machine's limits, measured at
// the start of the run.
#pragma once

#include <cstddef>
#include <span>

#include <benchmark/benchmark.h>

#include "base/host_buffer.h"
#include "kernels/exec_context.h"

namespace shoehorn::kernel_bench {

/// Made on first use; measures the limits then (about a second) and prints them to stderr.
class Bench {
 public:
  static Bench& instance();

  ExecContext& context() { return context_; }
  /// 1 GiB, beyond any cache, every 16-bit word a small number.
  std::span<const std::byte> read_buffer() { return buffer_.bytes(); }

  /// Sets bytes/s and flop/s counters and their shares of the limits; 0 leaves one out.
  void report(benchmark::State& state, double bytes, double flops) const;

 private:
  Bench();

  ThreadPool pool_;
  Workspace workspace_;
  ExecContext context_;
  HostBuffer buffer_;
};

}  // namespace shoehorn::kernel_bench
