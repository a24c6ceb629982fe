#include "kernels/probe_cuda.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "shoehorn/error.h"

#include "cuda/blas.h"
#include "cuda/memory.h"
#include "cuda/queue.h"

namespace shoehorn::cuda {
namespace {

constexpr std::size_t kCopyBytes = std::size_t{256} << 20;
constexpr std::size_t kLinkBytes = std::size_t{64} << 20;
constexpr std::int64_t kLeastMatrix = 512;
constexpr std::int64_t kMostMatrix = 8192;
constexpr double kEnoughSeconds = 1e-3;  // after which no larger product is tried
constexpr int kRepeats = 5;

/// The median time of `work`, in seconds, after one run that does not count.
double median_s(const Queue& queue, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  Event from(queue.ordinal(), /*timing=*/true);
  Event to(queue.ordinal(), /*timing=*/true);
  for (int i = 0; i < kRepeats; ++i) {
    from.record(queue);
    work();
    to.record(queue);
    to.wait();
    times.push_back(elapsed_ms(from, to) / 1e3);
  }
  std::ranges::nth_element(times, times.begin() + kRepeats / 2);
  return times[kRepeats / 2];
}

// Products run at other rates on zeros: the power they take depends on the bits.
void fill_with_numbers(const Queue& queue, const CardMemory& memory) {
  std::vector<std::uint16_t> numbers(1U << 20);
  std::uint32_t state = 1;
  for (std::uint16_t& number : numbers) {
    state = state * 1664525U + 1013904223U;
    // A bfloat16 of either sign between 2^-7 and 2^1.
    number = static_cast<std::uint16_t>((state >> 16 & 0x83FFU) | 0x3C00U);
  }
  const std::size_t step = numbers.size() * sizeof(std::uint16_t);
  for (std::size_t at = 0; at < memory.size(); at += step) {
    upload(queue, memory.data() + at, numbers.data(), std::min(step, memory.size() - at));
  }
}

/// Seconds of a bfloat16 product of two square matrices.
double product_s(Queue& queue, std::int64_t side) {
  const auto values = static_cast<std::size_t>(side * side);
  const CardMemory x(queue.ordinal(), 2 * values);
  const CardMemory w(queue.ordinal(), 2 * values);
  const CardMemory y(queue.ordinal(), 4 * values);
  fill_with_numbers(queue, x);
  fill_with_numbers(queue, w);
  const MatrixProduct product{
      .rows = side, .n = side, .k = side, .x = x.data(), .w = w.data(), .y = y.data(), .ldy = side};
  return median_s(queue, [&] { queue.blas().product(DType::kBF16, product); });
}

double measure_products(Queue& queue) {
  double flops = 0;
  try {
    for (std::int64_t side = kLeastMatrix; side <= kMostMatrix; side *= 2) {
      const double seconds = product_s(queue, side);
      const auto length = static_cast<double>(side);
      flops = 2 * length * length * length / seconds;
      if (seconds >= kEnoughSeconds) break;
    }
  } catch (const DeviceError&) {
    // No library, and the plan assumes a usual card's; or no room for a larger product.
  }
  return flops;
}

CardRates measure(int ordinal) {
  Queue queue(ordinal);
  queue.make_current();
  CardRates rates;
  {
    const std::size_t room = free_bytes(ordinal) / 4;
    const CardMemory from(ordinal, std::min(kCopyBytes, room));
    const CardMemory to(ordinal, from.size());
    const auto moved = 2.0 * static_cast<double>(from.size());
    rates.memory_bytes_per_s =
        moved / median_s(queue, [&] { copy_async(queue, to.data(), from.data(), from.size()); });
    const PinnedMemory host(std::min(kLinkBytes, from.size()));
    const auto bytes = static_cast<double>(host.size());
    rates.link_bytes_per_s =
        bytes / median_s(queue, [&] { copy_async(queue, to.data(), host.data(), host.size()); });
    rates.link_out_bytes_per_s =
        bytes / median_s(queue, [&] { copy_async(queue, host.data(), to.data(), host.size()); });
  }
  rates.bf16_flops = measure_products(queue);
  return rates;
}

}  // namespace

CardRates measure_card_rates(int ordinal) {
  static std::mutex mutex;
  static std::map<int, CardRates> measured;
  const std::lock_guard lock(mutex);
  if (const auto known = measured.find(ordinal); known != measured.end()) return known->second;
  return measured[ordinal] = measure(ordinal);
}

}  // namespace shoehorn::cuda
