#include "kernels/expert_rows.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::Machine;
using ::testing::ElementsAre;

TEST(ExpertRows, ComeTogetherAndGoBackWeighted) {
  Machine machine(Isa::kRef);
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};  // three rows
  const std::vector<std::int32_t> rows = {2, 0};
  std::vector<float> out(4);
  gather_rows(x, rows, out, machine.context());
  EXPECT_THAT(out, ElementsAre(5, 6, 1, 2));
  std::vector<float> sum = {10, 20, 30, 40, 50, 60};
  const std::vector<float> weights = {2, -1};
  add_weighted_rows(out, rows, weights, sum, machine.context());
  EXPECT_THAT(sum, ElementsAre(9, 18, 30, 40, 60, 72));
}

TEST(ExpertRows, OfOneRowAreAddedInOrder) {
  Machine machine(Isa::kRef);
  const std::vector<float> y = {1e8F, 1, -1e8F, 2, 1, 4};  // three experts
  const std::vector<float> weights = {1, 1, 1};
  std::vector<float> sum = {0, 0};
  add_weighted(y, weights, sum, machine.context());
  EXPECT_THAT(sum, ElementsAre(1, 7));
}

TEST(ExpertRows, ClampedHalvesMakeTheGateOfGptOss) {
  Machine machine(Isa::kRef);
  constexpr float kLimit = 7;
  constexpr float kAlpha = 1.702F;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> both = {9, -9, -20, 9, 0.5F, 0.25F, nan, nan};
  std::vector<float> gate(4);
  std::vector<float> up(4);
  clamp_glu(both, kLimit, kAlpha, gate, up, machine.context());
  const auto product = [&](std::size_t i) { return gate[i] / (1 + std::exp(-gate[i])) * up[i]; };
  const auto want = [&](float g, float u) { return (u + 1) * g / (1 + std::exp(-kAlpha * g)); };
  EXPECT_FLOAT_EQ(product(0), want(7, -7));
  EXPECT_FLOAT_EQ(product(1), want(-20, 7));
  EXPECT_FLOAT_EQ(product(2), want(0.5F, 0.25F));
  EXPECT_TRUE(std::isnan(gate[3]) && std::isnan(up[3]));
}

TEST(ExpertRows, RefuseSizesThatDisagree) {
  Machine machine(Isa::kRef);
  const std::vector<float> x(6);
  std::vector<float> out(4);
  const std::vector<std::int32_t> rows = {0, 1, 2};
  const std::vector<float> weights(2);
  EXPECT_THROW(gather_rows(x, rows, out, machine.context()), ArgumentError);
  EXPECT_THROW(add_weighted_rows(x, rows, weights, out, machine.context()), ArgumentError);
  EXPECT_THROW(add_weighted(x, weights, out, machine.context()), ArgumentError);
  EXPECT_THROW(clamp_glu(x, 1, 1, out, out, machine.context()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
