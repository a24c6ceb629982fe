#include "kernels/probe.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_test.h"
#include "kernels/probe_paths.h"

namespace shoehorn {
namespace {

using kernel_test::isas;

std::uint64_t read_with(Isa isa, const std::vector<std::byte>& bytes) {
  switch (isa) {
    case Isa::kAmx:
    case Isa::kAvx512: return avx512::read_bytes(bytes.data(), bytes.size());
    case Isa::kAvx2: return avx2::read_bytes(bytes.data(), bytes.size());
    case Isa::kRef: break;
  }
  return ref::read_bytes(bytes.data(), bytes.size());
}

// Each path sums 64-bit words, so a word left out or read twice shows.
TEST(MeasureReadBandwidth, EveryPathReadsEveryWordOnce) {
  std::vector<std::byte> bytes(256 * 37);
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 8) {
    const std::uint64_t word = i * i + 1;
    std::memcpy(bytes.data() + i, &word, sizeof(word));
    expected += word;
  }
  for (const Isa isa : isas()) EXPECT_EQ(read_with(isa, bytes), expected) << to_string(isa);
}

TEST(MeasureReadBandwidth, AnySizeIsRead) {
  ThreadPool pool(2);
  for (const std::size_t size : {1U, 255U, 257U, 100'000U}) {
    const std::vector<std::byte> bytes(size);
    for (const Isa isa : isas()) EXPECT_GT(measure_read_bandwidth(pool, bytes, 1, isa), 0.0);
  }
}

TEST(MeasureReadBandwidth, NothingToReadIsNoRate) {
  ThreadPool pool(1);
  EXPECT_EQ(measure_read_bandwidth(pool, std::span<const std::byte>{}, 1, Isa::kRef), 0.0);
}

// x · 0.999 + 0.001 stays at 1, so the sum of all chains counts them.
TEST(MeasureF32Flops, EveryChainIsCounted) {
  EXPECT_NEAR(ref::multiply_adds(100), ref::kFlops.chains * ref::kFlops.lanes, 0.01);
  if (detect_isa() >= Isa::kAvx2) {
    EXPECT_NEAR(avx2::multiply_adds(100), avx2::kFlops.chains * avx2::kFlops.lanes, 0.01);
  }
  if (detect_isa() >= Isa::kAvx512) {
    EXPECT_NEAR(avx512::multiply_adds(100), avx512::kFlops.chains * avx512::kFlops.lanes, 0.01);
  }
}

TEST(MeasureF32Flops, IsARate) {
  ThreadPool pool(2);
  EXPECT_GT(measure_f32_flops(pool, detect_isa()), 1e8);
}

}  // namespace
}  // namespace shoehorn
