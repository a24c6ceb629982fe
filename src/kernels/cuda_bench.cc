// The program cuda_bench: `cuda_bench [--json] [FILTER]` runs the cases whose names hold FILTER.
#include "kernels/cuda_bench.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <random>
#include <string_view>
#include <thread>
#include <utility>

#include "cuda/blas.h"
#include "cuda/card.h"
#include "cuda/memory.h"
#include "kernels/probe.h"

namespace shoehorn::cuda_bench {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{1} << 30;
constexpr int kWarmUps = 3;
constexpr int kBatches = 15;
// A batch is long beside the microsecond or two that an event takes.
constexpr double kBatchUs = 300;
// Values made on the host, then repeated: making billions would take longer than the cases.
constexpr std::size_t kRun = std::size_t{1} << 20;

std::vector<float> normal_numbers(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(std::min(static_cast<std::size_t>(count), kRun));
  for (float& value : values) value = normal(random);
  return values;
}

cuda::CardMemory repeated(const cuda::Queue& queue, const void* run, std::size_t run_bytes,
                          std::size_t bytes) {
  cuda::CardMemory memory(queue.ordinal(), bytes);
  for (std::size_t at = 0; at < bytes; at += run_bytes) {
    cuda::upload(queue, memory.data() + at, run, std::min(run_bytes, bytes - at));
  }
  return memory;
}

}  // namespace

Bench::Bench(int ordinal, std::string filter, bool json)
    : queue_(ordinal),
      pool_(1),
      memory_(ordinal, kWorkspaceBytes),
      workspace_(std::span<std::byte>(memory_.data(), memory_.size())),
      context_{pool_, Isa::kRef, workspace_, &queue_},
      filter_(std::move(filter)),
      json_(json) {
  copy_gb_s_ = measure_copy();
  matrix_tflop_s_ = measure_products();
  if (wants("host memory")) measure_host();
  if (!json_) {
    std::printf("%s: copies %.0f GB/s (read and written), bf16 products %.0f TFLOP/s\n",
                queue_.card().name.c_str(), copy_gb_s_, matrix_tflop_s_);
  }
}

Bench::~Bench() = default;

bool Bench::wants(const std::string& name) const {
  return name.find(filter_) != std::string::npos;
}

std::size_t Bench::rotation(std::size_t bytes) const {
  const std::size_t enough = 2 * queue_.card().l2_bytes / std::max<std::size_t>(bytes, 1) + 1;
  return std::min<std::size_t>(enough, 64);
}

cuda::CardMemory Bench::random_floats(std::int64_t count, unsigned seed) {
  const std::vector<float> values = normal_numbers(count, seed);
  return repeated(queue_, values.data(), values.size() * sizeof(float),
                  static_cast<std::size_t>(count) * sizeof(float));
}

cuda::CardMemory Bench::random_bf16(std::int64_t count, unsigned seed) {
  const std::vector<float> values = normal_numbers(count, seed);
  std::vector<std::uint16_t> halves;
  halves.reserve(values.size());
  for (const float value : values) {
    halves.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
  }
  return repeated(queue_, halves.data(), halves.size() * sizeof(std::uint16_t),
                  static_cast<std::size_t>(count) * sizeof(std::uint16_t));
}

cuda::CardMemory Bench::random_bytes(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint32_t> words(std::min(bytes / 4 + 1, kRun));
  for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(random());
  return repeated(queue_, words.data(), words.size() * sizeof(std::uint32_t), bytes);
}

double Bench::median_us(const std::function<void(std::size_t)>& launch) {
  std::size_t round = 0;
  cuda::Event begin(queue_.ordinal(), /*timing=*/true);
  cuda::Event end(queue_.ordinal(), /*timing=*/true);
  const auto time = [&](int launches) {
    begin.record(queue_);
    for (int i = 0; i < launches; ++i) launch(round++);
    end.record(queue_);
    end.wait();
    return cuda::elapsed_ms(begin, end) * 1000 / launches;
  };
  const double first = time(kWarmUps);
  const double once = std::min(first, time(kWarmUps));
  const int launches = static_cast<int>(std::clamp(kBatchUs / std::max(once, 0.1), 1.0, 200.0));
  std::vector<double> times;
  for (int i = 0; i < kBatches; ++i) times.push_back(time(launches));
  std::nth_element(times.begin(), times.begin() + kBatches / 2, times.end());
  return times[kBatches / 2];
}

double Bench::measure_copy() {
  constexpr std::size_t kBytes = std::size_t{1} << 30;
  const cuda::CardMemory from(queue_.ordinal(), kBytes);
  const cuda::CardMemory to(queue_.ordinal(), kBytes);
  const double us =
      median_us([&](std::size_t) { cuda::copy_async(queue_, to.data(), from.data(), kBytes); });
  return 2 * static_cast<double>(kBytes) / us * 1e-3;
}

double Bench::measure_products() {
  constexpr std::int64_t kSize = 8192;
  // Not zeros, whose products draw less power and so run faster.
  const cuda::CardMemory x = random_bf16(kSize * kSize, 1);
  const cuda::CardMemory w = random_bf16(kSize * kSize, 2);
  const cuda::CardMemory y(queue_.ordinal(), sizeof(float) * kSize * kSize);
  const cuda::MatrixProduct product{.rows = kSize,
                                    .n = kSize,
                                    .k = kSize,
                                    .x = x.data(),
                                    .w = w.data(),
                                    .y = y.data(),
                                    .ldy = kSize};
  const double us = median_us([&](std::size_t) { queue_.blas().product(DType::kBF16, product); });
  return 2.0 * kSize * kSize * kSize / us * 1e-6;
}

void Bench::measure_host() {
  constexpr std::size_t kBytes = std::size_t{2} << 30;  // beyond any processor's caches
  constexpr std::size_t kReadBytes = std::size_t{40} << 30;
  constexpr std::size_t kCopyBytes = std::size_t{64} << 20;
  HostBuffer buffer(kBytes);
  std::memset(buffer.data(), 1, buffer.size());
  cuda::PinnedMemory pinned(kBytes);
  std::memset(pinned.data(), 1, pinned.size());
  const cuda::CardMemory target(queue_.ordinal(), kCopyBytes);
  std::size_t offset = 0;
  const auto copy = [&] {
    cuda::copy_async(queue_, target.data(), pinned.data() + offset, kCopyBytes);
    queue_.synchronize();
    offset = (offset + kCopyBytes) % kBytes;
  };
  using Clock = std::chrono::steady_clock;
  const auto rate = [](std::size_t copies, Clock::time_point begin) {
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    return static_cast<double>(copies * kCopyBytes) / seconds * 1e-9;
  };
  copy();
  constexpr std::size_t kCopies = 64;
  const auto begin = Clock::now();
  for (std::size_t i = 0; i < kCopies; ++i) copy();
  alone_.link_gb_s = rate(kCopies, begin);

  ThreadPool pool(static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U)));
  const auto read = [&] {
    return measure_read_bandwidth(pool, buffer.bytes(), kReadBytes, detect_isa()) * 1e-9;
  };
  alone_.processor_gb_s = read();
  std::atomic<bool> is_over = false;
  std::thread copying([&] {
    std::size_t copies = 0;
    const auto first = Clock::now();
    for (; !is_over; ++copies) copy();
    at_once_.link_gb_s = rate(copies, first);
  });
  at_once_.processor_gb_s = read();
  is_over = true;
  copying.join();
  if (json_) return;
  std::printf("host memory: read %.1f GB/s, over the link %.1f; at once %.1f and %.1f\n",
              alone_.processor_gb_s, alone_.link_gb_s, at_once_.processor_gb_s, at_once_.link_gb_s);
}

void Bench::run(const std::string& name, const Work& work,
                const std::function<void(std::size_t)>& launch) {
  if (!wants(name)) return;
  Result result{.name = name, .us = median_us(launch)};
  result.gb_s = work.bytes / result.us * 1e-3;
  result.tflop_s = work.flops / result.us * 1e-6;
  results_.push_back(result);
  if (json_) return;
  std::printf("%-52s %9.1f us", name.c_str(), result.us);
  if (work.bytes > 0) {
    std::printf(" %7.0f GB/s %4.0f %%", result.gb_s, 100 * result.gb_s / copy_gb_s_);
  }
  if (work.flops > 0) {
    std::printf(" %6.1f TFLOP/s %4.0f %%", result.tflop_s, 100 * result.tflop_s / matrix_tflop_s_);
  }
  std::printf("\n");
  std::fflush(stdout);
}

void Bench::finish() const {
  if (!json_) return;
  std::printf("{\"card\": \"%s\", \"copy_gb_s\": %.1f, \"matrix_tflop_s\": %.1f,",
              queue_.card().name.c_str(), copy_gb_s_, matrix_tflop_s_);
  if (at_once_.link_gb_s > 0) {
    std::printf(" \"host_beside_link_gb_s\": %.1f, \"link_beside_host_gb_s\": %.1f,",
                at_once_.processor_gb_s, at_once_.link_gb_s);
  }
  std::printf(" \"cases\": [");
  for (std::size_t i = 0; i < results_.size(); ++i) {
    const Result& result = results_[i];
    std::printf("%s\n  {\"name\": \"%s\", \"us\": %.2f, \"gb_s\": %.1f, \"tflop_s\": %.2f}",
                i > 0 ? "," : "", result.name.c_str(), result.us, result.gb_s, result.tflop_s);
  }
  std::printf("]}\n");
}

}  // namespace shoehorn::cuda_bench

int main(int argc, char** argv) {
  using shoehorn::cuda_bench::Bench;
  bool json = false;
  std::string filter;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--json") {
      json = true;
    } else {
      filter = argv[i];
    }
  }
  try {
    const shoehorn::cuda::Cards& found = shoehorn::cuda::find_cards();
    if (found.cards.empty()) {
      std::fprintf(stderr, "no CUDA card: %s\n", found.why_none.c_str());
      return 77;
    }
    Bench bench(found.cards[0].ordinal, filter, json);
    shoehorn::cuda_bench::bench_rows(bench);
    shoehorn::cuda_bench::bench_attention(bench);
    shoehorn::cuda_bench::bench_linear(bench);
    bench.finish();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cuda_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
