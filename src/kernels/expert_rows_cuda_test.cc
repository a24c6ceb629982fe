// Rows of experts and parts of rows on a card against the processor's.
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/copy_runs.h"
#include "kernels/cuda_test.h"
#include "kernels/expert_rows.h"
#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

constexpr std::size_t kSmallWorkspace = std::size_t{1} << 20;

class ExpertRowsCuda : public CudaTest {};

void expect_near(const std::vector<float>& got, const std::vector<float>& expected,
                 std::int64_t width) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], 1e-6 * (1 + std::fabs(expected[i]))) << width << " " << i;
  }
}

TEST_F(ExpertRowsCuda, GoToExpertsAndBack) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  constexpr std::int64_t kRows = 70;
  for (const std::int64_t width : {1, 3, 64, 257, 4096}) {
    // Every other row from the end, none twice.
    std::vector<std::int32_t> rows;
    for (std::int32_t row = kRows - 1; row >= 0; row -= 2) rows.push_back(row);
    const auto count = static_cast<std::int64_t>(rows.size());
    const auto x = random_floats(kRows * width, 1);
    const auto weights = random_floats(count, 2);
    const auto sum = random_floats(kRows * width, 3);
    std::vector<float> gathered(static_cast<std::size_t>(count * width));
    gather_rows(x, rows, gathered, ref.context());
    std::vector<float> expected = sum;
    add_weighted_rows(gathered, rows, weights, expected, ref.context());

    const auto card_x = card.upload(x);
    const auto card_rows = card.upload(rows);
    const auto card_weights = card.upload(weights);
    const auto card_sum = card.upload(sum);
    const auto y = card.make<float>(gathered.size());
    gather_rows(card_x, card_rows, y, card.context());
    add_weighted_rows(y, card_rows, card_weights, card_sum, card.context());
    EXPECT_TRUE(same_bits(card.download(y), gathered)) << width;
    expect_near(card.download(card_sum), expected, width);
  }
}

TEST_F(ExpertRowsCuda, OfOneRowAreAddedInOrder) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  for (const std::int64_t width : {1, 5, 1000, 7168}) {
    const auto y = random_floats(9 * width, 1);
    const auto weights = random_floats(9, 2);
    std::vector<float> sum = random_floats(width, 3);
    const auto card_sum = card.upload(sum);
    add_weighted(card.upload(y), card.upload(weights), card_sum, card.context());
    add_weighted(y, weights, sum, ref.context());
    expect_near(card.download(card_sum), sum, width);
  }
}

TEST_F(ExpertRowsCuda, HalvesOfGptOssAreClamped) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  auto both = random_floats(2 * 3001, 1, 6);
  both[0] = std::numeric_limits<float>::quiet_NaN();
  both[3] = std::numeric_limits<float>::quiet_NaN();
  both[4] = std::numeric_limits<float>::infinity();
  std::vector<float> gate(3001);
  std::vector<float> up(gate.size());
  clamp_glu(both, 7, 1.702F, gate, up, ref.context());
  const auto card_gate = card.make<float>(gate.size());
  const auto card_up = card.make<float>(up.size());
  clamp_glu(card.upload(both), 7, 1.702F, card_gate, card_up, card.context());
  const auto got_gate = card.download(card_gate);
  const auto got_up = card.download(card_up);
  EXPECT_TRUE(std::isnan(got_gate[0]) && std::isnan(got_up[1]));
  for (std::size_t i = 2; i < gate.size(); ++i) {
    ASSERT_FLOAT_EQ(got_gate[i], gate[i]) << i;
    ASSERT_FLOAT_EQ(got_up[i], up[i]) << i;
  }
}

TEST_F(ExpertRowsCuda, PartsOfRunsAreCopied) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  constexpr std::int64_t kHeads = 6;
  for (const std::int64_t rows : {1, 37}) {
    for (const std::int64_t share : {std::int64_t{1}, kHeads}) {
      const auto from = random_floats(rows * kHeads / share * 50, 1);
      const auto before = random_floats(rows * kHeads * 40, 2);
      std::vector<float> to = before;
      copy_runs(from, {50, 17}, to, {40, 3}, 33, share, ref.context());
      const auto card_to = card.upload(before);
      copy_runs(card.upload(from), {50, 17}, card_to, {40, 3}, 33, share, card.context());
      EXPECT_TRUE(same_bits(card.download(card_to), to)) << rows << " " << share;
    }
  }
}

}  // namespace
}  // namespace shoehorn
