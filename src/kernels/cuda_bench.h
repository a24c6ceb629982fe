// Times kernels on a CUDA device: each case is launched many times over operands that rotate
// through more memory than the card's cache holds, and its median is set beside what the card was
// measured to move and to multiply in the same run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cuda/memory.h"
#include "cuda/queue.h"
#include "kernels/exec_context.h"

namespace shoehorn::cuda_bench {

/// What one launch of a case moves and computes; 0 where it does not matter.
struct Work {
  double bytes = 0;
  double flops = 0;
};

class Bench {
 public:
  explicit Bench(int ordinal, std::string filter, bool json);
  ~Bench();
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  cuda::Queue& queue() { return queue_; }
  ExecContext& context() { return context_; }

  /// Whether cases of this name were asked for: before making their operands.
  bool wants(const std::string& name) const;

  /// How many sets of operands of `bytes` each a case should rotate through: enough to exceed twice
  /// the card's cache, at most 64.
  std::size_t rotation(std::size_t bytes) const;

  /// Random normal numbers on the card.
  cuda::CardMemory random_floats(std::int64_t count, unsigned seed = 1);
  /// The same, their upper halves.
  cuda::CardMemory random_bf16(std::int64_t count, unsigned seed = 1);
  /// Random bytes.
  cuda::CardMemory random_bytes(std::size_t bytes, unsigned seed = 1);

  /// Submits launch(0), launch(1), ... and prints the median time of one, GB/s and TFLOP/s.
  void run(const std::string& name, const Work& work,
           const std::function<void(std::size_t)>& launch);

  /// Prints the JSON, if that was asked for.
  void finish() const;

 private:
  struct Result {
    std::string name;
    double us = 0;
    double gb_s = 0;
    double tflop_s = 0;
  };

  double median_us(const std::function<void(std::size_t)>& launch);
  double measure_copy();
  double measure_products();
  void measure_host();

  cuda::Queue queue_;
  ThreadPool pool_;
  cuda::CardMemory memory_;
  Workspace workspace_;
  ExecContext context_;
  std::string filter_;
  bool json_;
  double copy_gb_s_ = 0;
  double matrix_tflop_s_ = 0;
  // Host memory, read by the processor and over the link: each alone, and both at once.
  struct HostRates {
    double processor_gb_s = 0;
    double link_gb_s = 0;
  };
  HostRates alone_;
  HostRates at_once_;
  std::vector<Result> results_;
};

/// The cases, by family.
void bench_rows(Bench& bench);
void bench_linear(Bench& bench);
void bench_attention(Bench& bench);

}  // namespace shoehorn::cuda_bench
