#include "kernels/rope.h"

#include <cmath>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::Machine;
using kernel_test::random_floats;

constexpr float kTurned = 1.0F;  // cos 0, sin 1: a quarter turn
constexpr float kUnchanged = 0.0F;

TEST(ApplyRotaryHalves, PairsAreHalfTheRotaryWidthApart) {
  Machine machine(Isa::kRef);
  std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const std::vector<float> cos = {0, 1};
  const std::vector<float> sin = {kTurned, kUnchanged};
  apply_rotary_halves(x, {.rows = 1, .heads = 1, .head_dim = 6, .rotary_dim = 4}, cos, sin,
                      machine.context());
  EXPECT_THAT(x, testing::ElementsAre(-3, 2, 1, 4, 5, 6));
}

TEST(ApplyRotaryPairs, PairsAreNeighbours) {
  Machine machine(Isa::kRef);
  std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const std::vector<float> cos = {0, 1};
  const std::vector<float> sin = {kTurned, kUnchanged};
  apply_rotary_pairs(x, {.rows = 1, .heads = 1, .head_dim = 6, .rotary_dim = 4}, cos, sin,
                     machine.context());
  EXPECT_THAT(x, testing::ElementsAre(-2, 1, 3, 4, 5, 6));
}

TEST(ApplyRotaryHalves, EveryRowHasItsAnglesAndEveryHeadTurnsAlike) {
  Machine machine(Isa::kRef);
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};  // [2, 2, 2]
  const std::vector<float> cos = {1, 0};
  const std::vector<float> sin = {0, 1};
  apply_rotary_halves(x, {.rows = 2, .heads = 2, .head_dim = 2, .rotary_dim = 2}, cos, sin,
                      machine.context());
  EXPECT_THAT(x, testing::ElementsAre(1, 2, 3, 4, -6, 5, -8, 7));
}

TEST(ApplyRotaryHalves, ThreadsDoNotChangeTheResult) {
  const RotaryShape shape{.rows = 300, .heads = 5, .head_dim = 64, .rotary_dim = 48};
  const auto cos = random_floats(300 * 24, 1);
  const auto sin = random_floats(300 * 24, 2);
  auto a = random_floats(300 * 5 * 64, 3);
  auto b = a;
  Machine alone(Isa::kRef, 1);
  Machine shared(Isa::kRef, 3);
  apply_rotary_halves(a, shape, cos, sin, alone.context());
  apply_rotary_halves(b, shape, cos, sin, shared.context());
  EXPECT_EQ(a, b);
}

TEST(ApplyRotaryPairs, RefusesTablesOfTheWrongSize) {
  Machine machine(Isa::kRef);
  std::vector<float> x(8);
  const std::vector<float> table(3);
  EXPECT_THROW(apply_rotary_pairs(x, {.rows = 2, .heads = 1, .head_dim = 4, .rotary_dim = 4}, table,
                                  table, machine.context()),
               ArgumentError);
}

TEST(ApplyRotaryPairs, RefusesAnOddWidth) {
  Machine machine(Isa::kRef);
  std::vector<float> x(4);
  const std::vector<float> table(1);
  EXPECT_THROW(apply_rotary_pairs(x, {.rows = 1, .heads = 1, .head_dim = 4, .rotary_dim = 3}, table,
                                  table, machine.context()),
               ArgumentError);
}

}  // namespace
}  // namespace shoehorn
