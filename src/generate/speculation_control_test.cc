#include "generate/speculation_control.h"

#include <cmath>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

constexpr double kPlain = 0.01;  // seconds of a plain pass
constexpr DraftOffer kOffer{.most = 10, .kind = 2, .prior = 0.7};

/// A machine whose passes of n rows take 1 + slope (n - 1) plain ones, and guesses of which the
/// first `right` are right.
struct Simulation {
  double slope = 0;
  std::size_t right = 0;
  double draft = 0;  // of an id, in plain passes
  SpeculationControl control = {};
  double seconds = 0;
  double tokens = 0;

  void start(std::size_t prompt = 32) {
    control.prefilled(prompt, kPlain * (1 + slope * static_cast<double>(prompt - 1)));
  }
  std::size_t step(const DraftOffer& offer = kOffer) {
    const std::size_t count = control.choose(offer);
    if (count == 0) {
      control.plain_pass(kPlain);
      seconds += kPlain;
      tokens += 1;
      return 0;
    }
    const double pass = kPlain * (1 + slope * static_cast<double>(count));
    const double drafting = kPlain * draft * static_cast<double>(count);
    const std::size_t accepted = std::min(right, count);
    control.checked_pass(offer, count, accepted, pass, drafting);
    seconds += pass + drafting;
    tokens += static_cast<double>(accepted + 1);
    return count;
  }
  double rate_of_plain() const { return tokens * kPlain / seconds; }
};

TEST(SpeculationControl, NothingIsDraftedBeforeThePlainRateIsKnown) {
  Simulation run{.right = 10};
  run.start();
  EXPECT_EQ(run.step(), 0U);
  EXPECT_EQ(run.step(), 0U);
  EXPECT_EQ(run.step(), 0U);
  EXPECT_GT(run.step(), 0U);
}

TEST(SpeculationControl, WithoutAnOfferThePassIsPlain) {
  Simulation run{.right = 10};
  run.start();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(run.step(DraftOffer{}), 0U);
}

TEST(SpeculationControl, RightGuessesOfAStreamedModelAreMadeAsLongAsOffered) {
  Simulation run{.slope = 0.01, .right = 10};
  run.start();
  for (int i = 0; i < 20; ++i) run.step();
  EXPECT_EQ(run.step(), 10U);
  EXPECT_GT(run.rate_of_plain(), 5);
}

TEST(SpeculationControl, GuessesAreShorterWhereRowsAreDear) {
  Simulation cheap{.slope = 0.02, .right = 2};
  Simulation dear{.slope = 0.3, .right = 2};
  std::size_t cheap_drafted = 0;
  std::size_t dear_drafted = 0;
  cheap.start();
  dear.start();
  for (int i = 0; i < 60; ++i) {
    cheap_drafted += cheap.step();
    dear_drafted += dear.step();
  }
  EXPECT_LT(dear_drafted, cheap_drafted);
}

// Whatever a row costs, whatever guesses cost, and however wrong they are.
TEST(SpeculationControl, NeverFallsBelow97PercentOfThePlainRate) {
  for (const double slope : {0.0, 0.01, 0.1, 0.3, 1.0}) {
    for (const double draft : {0.0, 0.05, 0.3}) {
      for (const std::size_t right : {0, 1, 2, 5}) {
        for (const std::size_t prompt : {1, 8, 200}) {
          Simulation run{.slope = slope, .right = right, .draft = draft};
          run.start(prompt);
          while (run.tokens < 100) run.step();
          EXPECT_GT(run.rate_of_plain(), 0.97) << "slope " << slope << " draft " << draft
                                               << " right " << right << " prompt " << prompt;
        }
      }
    }
  }
}

TEST(SpeculationControl, StopsWhereGuessesAreWrongAndSaysSo) {
  Simulation run{.slope = 0.3, .right = 0};
  run.start();
  for (int i = 0; i < 200; ++i) run.step();
  EXPECT_TRUE(run.control.stats().switched_off);
  EXPECT_LT(run.control.stats().passes, 20);
}

TEST(SpeculationControl, GoesOnAgainWhereTheTextBeginsToRepeat) {
  Simulation run{.slope = 0.02, .right = 0};
  run.start();
  for (int i = 0; i < 100; ++i) run.step();
  run.right = 10;
  const double before = run.tokens;
  for (int i = 0; i < 100; ++i) run.step();
  EXPECT_GT(run.tokens - before, 300);
  EXPECT_FALSE(run.control.stats().switched_off);
}

TEST(SpeculationControl, ThePlainRateIsMeasuredAgainNowAndThen) {
  Simulation run{.slope = 0.01, .right = 10};
  run.start();
  for (int i = 0; i < 3; ++i) run.step();
  int plain = 0;
  for (int i = 0; i < 60; ++i) plain += run.step() == 0 ? 1 : 0;
  EXPECT_GE(plain, 3);
  EXPECT_LE(plain, 12);
}

TEST(SpeculationControl, ADraftThatCameToNothingIsAPlainPassAndItsTimeCounts) {
  Simulation run{.slope = 0.01, .right = 10};
  run.start();
  for (int i = 0; i < 3; ++i) run.step();
  const std::int64_t plain = run.control.stats().plain_passes;
  run.control.checked_pass(kOffer, 0, 0, kPlain, kPlain / 2);
  EXPECT_EQ(run.control.stats().plain_passes, plain + 1);
  EXPECT_EQ(run.control.stats().passes, 0);
  EXPECT_NEAR(run.control.stats().gained_s, -kPlain / 2, 1e-9);
}

}  // namespace
}  // namespace shoehorn
