#include "kernels/product_probe.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "kernels/linear.h"

namespace shoehorn {
namespace {

using Clock = std::chrono::steady_clock;

// Past the caches of most processors; a machine with more of them shows part of its cache's speed,
// as it does while decoding.
constexpr std::size_t kMostBytes = std::size_t{64} << 20;
constexpr double kPassSeconds = 0.012;
constexpr double kPromptSeconds = 0.02;
constexpr double kPromptFlops = 6e8;  // of the product that is measured
constexpr std::int64_t kLeastColumns = 64;
constexpr int kMostProducts = 400;
constexpr std::size_t kAlignment = 64;

// As float32, float16 and bfloat16, and as the scale of any block, a small finite number.
constexpr std::byte kFill{0x3c};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double>& values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

}  // namespace

ProductProbe::ProductProbe(ThreadPool& pool, Isa isa, std::int64_t pass_rows,
                           std::int64_t prompt_rows, std::size_t model_bytes)
    : pool_(pool),
      isa_(isa),
      pass_rows_(pass_rows),
      prompt_rows_(prompt_rows),
      weights_(std::clamp<std::size_t>(model_bytes, 4096, kMostBytes)) {
  std::ranges::fill(weights_.bytes(), kFill);
}

ProductProbe::Times ProductProbe::measure(const WeightForm& form, const WeightCompute& compute,
                                          const Shape& shape) {
  if (shape.rank() != 2 || shape[0] < 1 || shape[1] < 1) return {};
  const Key key{form.quant_type, form.dtype, form.nested, compute.dtype, shape[0], shape[1]};
  const auto known = known_.find(key);
  if (known != known_.end()) return known->second;

  // As many rows of the weight as the buffer holds, and as the time allows.
  const auto bytes = form_bytes(form, shape);
  if (!bytes || *bytes == 0) return {};
  const auto n = static_cast<double>(shape[0]);
  const double fit = static_cast<double>(weights_.size()) / static_cast<double>(*bytes);
  const auto columns = [&](double share) {
    const auto rows = static_cast<std::int64_t>(std::min(1.0, share) * n);
    return std::clamp<std::int64_t>(rows / 16 * 16, std::min<std::int64_t>(16, shape[0]), shape[0]);
  };
  Times times;
  const std::int64_t pass_n = columns(0.9 * fit);
  times.pass_s = product_s(form, compute, pass_n, shape[1], pass_rows_, kPassSeconds) * n /
                 static_cast<double>(pass_n);
  const double flops = 2 * static_cast<double>(prompt_rows_) * n * static_cast<double>(shape[1]);
  const std::int64_t prompt_n =
      std::max(std::min(kLeastColumns, pass_n), columns(std::min(0.9 * fit, kPromptFlops / flops)));
  times.row_s = product_s(form, compute, prompt_n, shape[1], prompt_rows_, kPromptSeconds) * n /
                static_cast<double>(prompt_n) / static_cast<double>(prompt_rows_);
  known_.emplace(key, times);
  return times;
}

double ProductProbe::product_s(const WeightForm& form, const WeightCompute& compute, std::int64_t n,
                               std::int64_t k, std::int64_t rows, double least_s) {
  const std::size_t bytes = form_bytes(form, Shape{n, k}).value_or(0);
  if (bytes == 0 || bytes > weights_.size()) return 0;
  const std::size_t step = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  Workspace workspace(linear_workspace_bytes(rows, k, pool_.threads()));
  ExecContext context{.pool = pool_, .isa = isa_, .workspace = workspace};
  std::vector<float> x(static_cast<std::size_t>(rows * k), 0.5F);
  std::vector<float> y(static_cast<std::size_t>(rows * n));
  std::vector<double> seconds;
  const auto start = Clock::now();
  do {
    if (next_ + bytes > weights_.size()) next_ = 0;
    WeightView weight(form, Shape{n, k}, weights_.data() + next_, Device{});
    weight.compute = compute;
    next_ += step;
    const auto begin = Clock::now();
    linear(weight, {}, x, rows, y, context);
    seconds.push_back(seconds_since(begin));
  } while (seconds.size() < 3 ||
           (seconds_since(start) < least_s && seconds.size() < kMostProducts));
  return median(seconds);
}

double ProductProbe::measure_loop_s() {
  // Long enough for every thread to come before the others have done its share.
  constexpr double kWorkSeconds = 3e-6;
  constexpr int kLoops = 200;
  const auto work = [] {
    for (const auto begin = Clock::now(); seconds_since(begin) < kWorkSeconds;) {
    }
  };
  std::vector<double> seconds;
  for (int i = 0; i < kLoops; ++i) {
    const auto begin = Clock::now();
    pool_.parallel_for(pool_.threads(), [&work](std::int64_t, int) { work(); });
    seconds.push_back(seconds_since(begin) - kWorkSeconds);
  }
  return std::max(0.0, median(seconds));
}

}  // namespace shoehorn
