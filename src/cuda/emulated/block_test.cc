// Emulated cards against what the CUDA programming guide and the PTX ISA say of real ones.
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/emulated/device.h"
#include "cuda/emulated/kernels/instructions_cuda.h"

namespace shoehorn::cuda::emulated {
namespace {

void run(dim3 grid, dim3 block, const std::function<void()>& kernel) {
  run_blocks({.name = "a test", .grid = grid, .block = block, .shared_bytes = 0}, kernel);
}

TEST(EmulatedBlocks, RunEveryThreadOnce) {
  std::vector<int> runs(2 * 3 * 5 * 4 * 6 * 7);
  run({2, 3, 5}, {4, 6, 7}, [&] {
    const unsigned block = (blockIdx.z * 3 + blockIdx.y) * 2 + blockIdx.x;
    const unsigned thread = (threadIdx.z * 6 + threadIdx.y) * 4 + threadIdx.x;
    ++runs[block * 4 * 6 * 7 + thread];
  });
  EXPECT_EQ(runs, std::vector<int>(runs.size(), 1));
}

TEST(EmulatedBlocks, LanesHandValuesToEachOther) {
  std::vector<int> swapped(64);
  std::vector<int> shifted(64);
  std::vector<int> first(64);
  run({2}, {64}, [&] {
    const auto i = static_cast<int>(threadIdx.x);
    swapped[threadIdx.x] = __shfl_xor_sync(~0U, i, 5);
    shifted[threadIdx.x] = __shfl_up_sync(~0U, i, 3U);
    first[threadIdx.x] = __shfl_sync(~0U, i, 0);
  });
  for (int i = 0; i < 64; ++i) {
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(swapped[at], i ^ 5);
    EXPECT_EQ(shifted[at], i % 32 < 3 ? i : i - 3);
    EXPECT_EQ(first[at], i / 32 * 32);
  }
}

TEST(EmulatedBlocks, LanesThatHaveEndedAreNotWaitedFor) {
  std::vector<int> sums(40);
  run({2}, {40}, [&] {
    const auto i = static_cast<int>(threadIdx.x);
    if (i % 4 == 1) return;
    sums[threadIdx.x] = __reduce_add_sync(~0U, i);
  });
  int of_first = 0;
  for (int i = 0; i < 32; ++i) of_first += i % 4 == 1 ? 0 : i;
  for (int i = 0; i < 40; ++i) {
    const int expected = i < 32 ? of_first : 32 + 34 + 35 + 36 + 38 + 39;
    EXPECT_EQ(sums[static_cast<std::size_t>(i)], i % 4 == 1 ? 0 : expected) << i;
  }
}

TEST(EmulatedBlocks, LanesThatEndedEarlyTakePartInTheNextBlock) {
  std::vector<int> sums(3 * 32);
  run({3}, {32}, [&] {
    const int once = __reduce_add_sync(~0U, 1);
    if (threadIdx.x % 2 == 0) return;
    sums[blockIdx.x * 32 + threadIdx.x] = once + __reduce_add_sync(~0U, 100);
  });
  for (unsigned i = 0; i < sums.size(); ++i) EXPECT_EQ(sums[i], i % 2 == 0 ? 0 : 1632) << i;
}

TEST(EmulatedBlocks, ThreadsWaitForTheirBlock) {
  std::vector<unsigned> seen(2 * 1000);
  run({2}, {1000}, [&] {
    __shared__ unsigned values[1000];
    values[threadIdx.x] = threadIdx.x;
    __syncthreads();
    seen[blockIdx.x * 1000 + threadIdx.x] = values[999 - threadIdx.x];
  });
  for (unsigned i = 0; i < 2000; ++i) EXPECT_EQ(seen[i], 999 - i % 1000);
}

// One block runs its threads from the first, the other from the last.
TEST(EmulatedBlocks, AForgottenWaitShows) {
  std::vector<unsigned> seen(2 * 64);
  run({2}, {64}, [&] {
    __shared__ unsigned values[64];
    values[threadIdx.x] = 0;
    __syncthreads();
    values[threadIdx.x] = 1 + threadIdx.x;
    seen[blockIdx.x * 64 + threadIdx.x] = values[63 - threadIdx.x];
  });
  EXPECT_NE(std::vector(seen.begin(), seen.begin() + 64),
            std::vector(seen.begin() + 64, seen.end()));
}

TEST(EmulatedBlocks, CopiesArriveWhenTheyAreWaitedFor) {
  const std::vector<std::uint32_t> from = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<std::uint32_t> seen;
  run({1}, {1}, [&] {
    auto* const shared = reinterpret_cast<std::uint32_t*>(running.shared);
    std::fill_n(shared, 12, 0U);
    copy_16_or_zero(0, from.data(), true);
    commit_copies();
    copy_16_or_zero(16, from.data() + 4, true);
    copy_16_or_zero(32, nullptr, false);
    commit_copies();
    seen.push_back(shared[0]);
    wait_for_copies<1>();
    seen.push_back(shared[0]);
    seen.push_back(shared[4]);
    wait_for_copies<0>();
    seen.push_back(shared[7]);
  });
  EXPECT_EQ(seen, (std::vector<std::uint32_t>{0, 1, 0, 8}));
}

TEST(EmulatedBlocks, MatricesAreMultiplied) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> small(-8, 8);
  float a[16][16];
  float b[16][8];
  for (auto& row : a) {
    for (float& value : row) value = static_cast<float>(small(random));
  }
  for (auto& row : b) {
    for (float& value : row) value = static_cast<float>(small(random));
  }
  float d[16][8];
  run({1}, {32}, [&] {
    // a by its four 8x8 matrices; b, stored by rows, transposed on its way.
    const unsigned lane = threadIdx.x;
    auto* const shared = reinterpret_cast<__half*>(running.shared);
    for (unsigned i = lane; i < 256; i += 32) shared[i] = __float2half(a[i / 16][i % 16]);
    for (unsigned i = lane; i < 128; i += 32) shared[256 + i] = __float2half(b[i / 8][i % 8]);
    __syncthreads();
    std::uint32_t of_a[4];
    std::uint32_t of_b[4];
    const unsigned matrix = lane / 8;
    load_matrices(of_a, 2 * ((lane % 8 + matrix % 2 * 8) * 16 + matrix / 2 * 8));
    load_matrices_transposed(of_b, 2 * (256 + lane % 16 * 8));
    float sums[4] = {};
    mma_16x8x16<__half>(sums, of_a, of_b[0], of_b[1]);
    for (unsigned i = 0; i < 4; ++i) d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = sums[i];
  });
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += a[m][k] * b[k][n];
      EXPECT_EQ(d[m][n], sum) << m << " " << n;
    }
  }
}

TEST(EmulatedBlocks, TransposedTwiceIsTheSame) {
  std::vector<std::uint32_t> twice(32);
  std::vector<std::uint32_t> once(32);
  run({1}, {32}, [&] {
    const std::uint32_t mine = threadIdx.x * 2 << 16 | (threadIdx.x * 2 + 1);
    once[threadIdx.x] = transpose_matrix(mine);
    twice[threadIdx.x] = transpose_matrix(once[threadIdx.x]);
  });
  for (unsigned i = 0; i < 32; ++i) EXPECT_EQ(twice[i], i * 2 << 16 | (i * 2 + 1));
  // Row 0 becomes column 0: the lower half of the first lane of each row.
  EXPECT_EQ(once[0] & 0xFFFF, 1U);
  EXPECT_EQ(once[0] >> 16, 9U);
}

TEST(EmulatedBlocksDeathTest, ThreadsThatWaitInVainAreNamed) {
  EXPECT_DEATH(
      run({1}, {64},
          [] {
            if (threadIdx.x < 32) {
              __syncthreads();
            } else if (threadIdx.x < 40) {
              __all_sync(~0U, 1);
            } else {
              __syncthreads();
            }
          }),
      "kernel a test, block \\(0, 0, 0\\): 8 threads wait for their warp, 56 for the block");
}

}  // namespace
}  // namespace shoehorn::cuda::emulated
