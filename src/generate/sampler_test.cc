#include "generate/sampler.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Known answers that the authors of Philox publish with Random123 (kat_vectors).
TEST(Philox4x32, AnswersRandom123ForZeros) {
  EXPECT_THAT(philox4x32({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U));
}

TEST(Philox4x32, AnswersRandom123ForOnes) {
  EXPECT_THAT(
      philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
      ElementsAre(0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU));
}

TEST(Philox4x32, AnswersRandom123ForDigitsOfPi) {
  EXPECT_THAT(
      philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      ElementsAre(0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U));
}

TEST(GreedyToken, FirstOfEqualsWins) {
  EXPECT_EQ(greedy_token(std::vector<float>{1, 5, 2, 5}), 1);
}

TEST(GreedyToken, FindsTheLargestAtEveryPlaceOfEveryLength) {
  for (std::size_t length = 1; length < 40; ++length) {
    for (std::size_t place = 0; place < length; ++place) {
      std::vector<float> logits(length, -3.0f);
      logits[place] = -1.0f;
      ASSERT_EQ(greedy_token(logits), static_cast<std::int32_t>(place)) << length;
    }
  }
}

TEST(GreedyToken, NanIsNeverChosen) {
  EXPECT_EQ(greedy_token(std::vector<float>{kNan, -2, kNan, -1}), 3);
}

TEST(GreedyToken, AllMinusInfinityIsTheFirst) {
  EXPECT_EQ(greedy_token(std::vector<float>(20, -kInfinity)), 0);
}

TEST(GreedyToken, NothingButNanIsAnError) {
  EXPECT_THROW(greedy_token(std::vector<float>(20, kNan)), Error);
}

TEST(GreedyToken, NoLogitsAreAnError) {
  EXPECT_THROW(greedy_token({}), Error);
}

std::vector<std::int32_t> draws(std::uint64_t seed, std::uint64_t sequence, int count) {
  const std::vector<Candidate> candidates = {{2, 0.0f}, {5, 0.0f}, {7, 0.0f}, {11, 0.0f}};
  Sampler sampler(seed, sequence);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back(sampler.draw(candidates));
  return ids;
}

// Follows from the definition in sampler.h and the known answers above: with seed 0, u of draw 0 is
// 0xe169c58d / 2^32 = 0.88, in the last quarter.
TEST(Sampler, FirstDrawOfSeedZeroFollowsFromPhilox) {
  EXPECT_THAT(draws(0, 0, 1), ElementsAre(11));
}

TEST(Sampler, SameSeedDrawsTheSame) {
  EXPECT_EQ(draws(42, 0, 100), draws(42, 0, 100));
}

TEST(Sampler, AnotherSeedDrawsOtherwise) {
  EXPECT_NE(draws(42, 0, 100), draws(43, 0, 100));
}

TEST(Sampler, AnotherSequenceDrawsOtherwise) {
  EXPECT_NE(draws(42, 0, 100), draws(42, 1, 100));
}

TEST(Sampler, DrawsInProportionToTheSoftmax) {
  // Weights 1, 2, 5 of 8.
  const std::vector<Candidate> candidates = {{0, 0.0f}, {1, std::log(2.0f)}, {2, std::log(5.0f)}};
  Sampler sampler(7);
  std::vector<int> counts(3);
  constexpr int kDraws = 80000;
  for (int i = 0; i < kDraws; ++i) ++counts[static_cast<std::size_t>(sampler.draw(candidates))];
  // Five standard deviations, sqrt(n p (1 - p)) <= 142.
  EXPECT_NEAR(counts[0], 10000, 710);
  EXPECT_NEAR(counts[1], 20000, 710);
  EXPECT_NEAR(counts[2], 50000, 710);
}

TEST(Sampler, CandidateWithoutWeightIsNeverDrawn) {
  const std::vector<Candidate> candidates = {{0, -200.0f}, {1, 1.0f}, {2, -200.0f}};
  Sampler sampler(1);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(sampler.draw(candidates), 1);
}

TEST(Sampler, OneCandidateIsDrawn) {
  EXPECT_EQ(Sampler(3).draw(std::vector<Candidate>{{9, -5.0f}}), 9);
}

}  // namespace
}  // namespace shoehorn
