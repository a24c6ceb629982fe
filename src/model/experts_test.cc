// Routing by the rules of the four architectures, with values small enough to follow by hand.

#include "model/experts.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoehorn {
namespace {

using ::testing::ElementsAre;

Routing routed(const RouterRule& rule, const std::vector<float>& logits,
               const std::vector<float>& correction = {}) {
  const std::size_t rows = logits.size() / static_cast<std::size_t>(rule.experts);
  Routing result(rule, static_cast<std::int64_t>(rows));
  route(rule, logits, correction, result);
  return result;
}

float sigmoid(float z) {
  return 1 / (1 + std::exp(-z));
}

TEST(Route, SoftmaxIsOfAllExpertsUnlessItIsNormalized) {
  RouterRule rule{.experts = 3, .chosen = 2};
  const std::vector<float> logits = {std::log(1.0F), std::log(5.0F), std::log(2.0F)};
  Routing got = routed(rule, logits);
  EXPECT_THAT(got.experts, ElementsAre(1, 2));
  EXPECT_NEAR(got.weights[0], 5.0 / 8, 1e-6);
  EXPECT_NEAR(got.weights[1], 2.0 / 8, 1e-6);
  rule.normalize = true;
  got = routed(rule, logits);
  EXPECT_NEAR(got.weights[0], 5.0 / 7, 1e-6);
  EXPECT_NEAR(got.weights[1], 2.0 / 7, 1e-6);
}

TEST(Route, SoftmaxOfTheChosenSumsToOne) {
  const RouterRule rule{.scores = RouterRule::Scores::kSoftmaxOfTop, .experts = 4, .chosen = 2};
  const Routing got = routed(rule, {3, -1, 2, 0});
  EXPECT_THAT(got.experts, ElementsAre(0, 2));
  EXPECT_NEAR(got.weights[0], sigmoid(1), 1e-6);
  EXPECT_NEAR(got.weights[1], sigmoid(-1), 1e-6);
}

TEST(Route, OnlyExpertsOfTheBestGroupsAreTaken) {
  // Group 1 holds the largest score, group 0 the largest sum of two.
  const RouterRule rule{.scores = RouterRule::Scores::kSigmoid,
                        .experts = 4,
                        .chosen = 2,
                        .groups = 2,
                        .best_groups = 1};
  const Routing got = routed(rule, {1, 1, 2, -9});
  EXPECT_THAT(got.experts, ElementsAre(0, 1));
  EXPECT_NEAR(got.weights[0], sigmoid(1), 1e-6);
}

TEST(Route, TheCorrectionChoosesButDoesNotWeigh) {
  RouterRule rule{.scores = RouterRule::Scores::kSigmoid,
                  .experts = 3,
                  .chosen = 1,
                  .normalize = true,
                  .scale = 2.5F};
  Routing got = routed(rule, {0, 1, 2}, {1, 0, 0});
  EXPECT_THAT(got.experts, ElementsAre(0));
  EXPECT_NEAR(got.weights[0], 2.5, 1e-6);
  rule.normalize = false;
  got = routed(rule, {0, 1, 2}, {1, 0, 0});
  EXPECT_NEAR(got.weights[0], 2.5 * 0.5, 1e-6);
}

TEST(Route, EqualScoresTakeTheLowerExpertsAndNanNone) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const RouterRule rule{.scores = RouterRule::Scores::kSoftmaxOfTop, .experts = 5, .chosen = 2};
  EXPECT_THAT(routed(rule, {1, 1, 1, 1, 1}).experts, ElementsAre(0, 1));
  EXPECT_THAT(routed(rule, {nan, 1, nan, 0, nan}).experts, ElementsAre(1, 3));
  EXPECT_THAT(routed(rule, {nan, nan, nan, nan, nan}).experts, ElementsAre(0, 1));
}

TEST(Route, RowsAreRoutedOneByOne) {
  const RouterRule rule{.scores = RouterRule::Scores::kSoftmaxOfTop, .experts = 3, .chosen = 1};
  EXPECT_THAT(routed(rule, {0, 1, 2, 5, 4, 3}).experts, ElementsAre(2, 0));
}

}  // namespace
}  // namespace shoehorn
