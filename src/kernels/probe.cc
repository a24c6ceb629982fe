#include "kernels/probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/host_buffer.h"
#include "kernels/probe_paths.h"

namespace shoehorn {
namespace {

using Clock = std::chrono::steady_clock;
using ReadPath = std::uint64_t (*)(const std::byte*, std::size_t);
using FlopsPath = float (*)(std::int64_t);

constexpr std::size_t kLeastBytes = 3'000'000'000;
// A piece is long enough that its start, which no prefetch covers, does not show.
constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

ReadPath read_path(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
    case Isa::kAvx512: return avx512::read_bytes;
    case Isa::kAvx2: return avx2::read_bytes;
    case Isa::kRef: break;
  }
  return ref::read_bytes;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

struct FlopsLoop {
  FlopsPath run;
  FlopsShape shape;
};

FlopsLoop flops_loop(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
    case Isa::kAvx512: return {avx512::multiply_adds, avx512::kFlops};
    case Isa::kAvx2: return {avx2::multiply_adds, avx2::kFlops};
    case Isa::kRef: break;
  }
  return {ref::multiply_adds, ref::kFlops};
}

}  // namespace

double measure_read_bandwidth(ThreadPool& pool, std::span<const std::byte> buffer,
                              std::size_t least_bytes, Isa isa) {
  if (buffer.empty()) return 0;
  const ReadPath read = read_path(isa);
  const auto pieces = static_cast<std::int64_t>((buffer.size() + kPieceBytes - 1) / kPieceBytes);
  std::atomic<std::uint64_t> sink{0};  // keeps the loads
  const auto pass = [&] {
    const auto start = Clock::now();
    pool.parallel_for(pieces, [&](std::int64_t piece, int /*thread*/) {
      const std::size_t begin = static_cast<std::size_t>(piece) * kPieceBytes;
      const std::size_t count = std::min(kPieceBytes, buffer.size() - begin);
      sink.fetch_add(read(buffer.data() + begin, count), std::memory_order_relaxed);
    });
    return static_cast<double>(buffer.size()) / seconds_since(start);
  };
  std::vector<double> rates;
  for (std::size_t done = 0; done < least_bytes || rates.empty(); done += buffer.size()) {
    rates.push_back(pass());
  }
  return median(rates);
}

double measure_read_bandwidth(ThreadPool& pool, std::size_t bytes, Isa isa) {
  HostBuffer buffer(bytes);
  // Untouched pages are all the system's one page of zeros.
  const auto pieces = static_cast<std::int64_t>((bytes + kPieceBytes - 1) / kPieceBytes);
  pool.parallel_for(pieces, [&](std::int64_t piece, int /*thread*/) {
    const std::size_t begin = static_cast<std::size_t>(piece) * kPieceBytes;
    std::memset(buffer.data() + begin, 1, std::min(kPieceBytes, bytes - begin));
  });
  return measure_read_bandwidth(pool, buffer.bytes(), kLeastBytes, isa);
}

double measure_f32_flops(ThreadPool& pool, Isa isa) {
  const FlopsLoop loop = flops_loop(isa);
  constexpr int kRuns = 9;
  // About 10 ms a run at 3 GHz: small pieces, so that a core that is busy elsewhere does less.
  const std::int64_t pieces = std::int64_t{64} * pool.threads();
  constexpr std::int64_t kTurns = 50'000;
  std::atomic<float> sink{0};
  std::vector<double> rates;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = Clock::now();
    pool.parallel_for(pieces, [&](std::int64_t /*piece*/, int /*thread*/) {
      sink.store(loop.run(kTurns), std::memory_order_relaxed);
    });
    const std::int64_t operations = 2 * pieces * kTurns * loop.shape.chains * loop.shape.lanes;
    rates.push_back(static_cast<double>(operations) / seconds_since(start));
  }
  return median(rates);
}

double measure_f32_gflops(ThreadPool& pool, Isa isa) {
  return measure_f32_flops(pool, isa) * 1e-9;
}

}  // namespace shoehorn
