#include "progress.h"

#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoehorn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

std::string bytes_line(std::uint64_t done, std::uint64_t total, double elapsed_s, int width = 80) {
  return progress_line("loading", done, total, elapsed_s, ProgressUnit::kBytes, width);
}

TEST(ProgressLine, ShowsNameBarShareRateAndTimeLeft) {
  EXPECT_EQ(bytes_line(5'200'000'000, 10'000'000'000, 4.0),
            "loading  [##################.................]  52%  1.30 GB/s  0:04 left");
}

TEST(ProgressLine, IsNeverWiderThanTheTerminal) {
  for (int width = 0; width < 120; ++width) {
    ASSERT_LE(bytes_line(52, 100, 3.0, width).size(), static_cast<std::size_t>(width));
  }
}

TEST(ProgressLine, NarrowTerminalKeepsNameAndShare) {
  EXPECT_EQ(bytes_line(52, 100, 3.0, 14), "loading  52%");
}

TEST(ProgressLine, NoRateBeforeItMeansSomething) {
  EXPECT_THAT(bytes_line(52, 100, 0.2), AllOf(EndsWith("52%"), Not(HasSubstr("/s"))));
}

TEST(ProgressLine, NothingDoneHasNoTimeLeft) {
  EXPECT_THAT(bytes_line(0, 100, 9.0), EndsWith("0%"));
}

TEST(ProgressLine, MoreThanAllIsAll) {
  EXPECT_THAT(bytes_line(150, 100, 0.1), EndsWith("100%"));
}

TEST(ProgressLine, UnknownEndShowsTheAmount) {
  EXPECT_EQ(bytes_line(3'000'000, 0, 2.0), "loading  3.00 MB  1.50 MB/s");
}

TEST(ProgressLine, TokensAreCounted) {
  EXPECT_THAT(progress_line("prefill", 50, 100, 2.0, ProgressUnit::kTokens, 80),
              HasSubstr("25.0 tok/s"));
}

TEST(ProgressLine, LongTimesHaveHours) {
  EXPECT_THAT(bytes_line(1, 3601, 1.0), EndsWith("1:00:00 left"));
}

TEST(ProgressLine, LongNameIsCutBetweenCharacters) {
  EXPECT_EQ(progress_line("\xC3\xA9\xC3\xA9\xC3\xA9", 0, 10, 0, ProgressUnit::kItems, 2),
            "\xC3\xA9\xC3\xA9");
}

// A terminal that records what is written, with a clock that the test moves.
struct FakeTerminal {
  std::vector<std::string> written;
  double now_s = 100;

  ProgressTerminal terminal() {
    return {.write = [this](std::string_view text) { written.emplace_back(text); },
            .width = [] { return 60; },
            .now_s = [this] { return now_s; }};
  }
};

TEST(Progress, DrawsAtMostTenTimesASecond) {
  FakeTerminal fake;
  Progress progress("loading", 100000, ProgressUnit::kItems, fake.terminal());
  for (int i = 0; i < 10000; ++i) {
    fake.now_s += 0.0002;  // two seconds in all
    progress.add(10);
  }
  EXPECT_LE(fake.written.size(), 20U);
  EXPECT_GE(fake.written.size(), 18U);
}

TEST(Progress, EveryDrawingStartsAtTheLinesBegin) {
  FakeTerminal fake;
  Progress progress("loading", 10, ProgressUnit::kItems, fake.terminal());
  fake.now_s += 1;
  progress.add(5);
  ASSERT_EQ(fake.written.size(), 1U);
  EXPECT_THAT(fake.written[0], AllOf(StartsWith("\rloading"), EndsWith("\x1b[K")));
}

TEST(Progress, ErasesItselfAtTheEnd) {
  FakeTerminal fake;
  {
    Progress progress("loading", 10, ProgressUnit::kItems, fake.terminal());
    fake.now_s += 1;
    progress.add(5);
  }
  EXPECT_EQ(fake.written.back(), "\r\x1b[K");
}

TEST(Progress, WorkThatIsOverAtOnceShowsNothing) {
  FakeTerminal fake;
  {
    Progress progress("loading", 10, ProgressUnit::kItems, fake.terminal());
    progress.add(10);
  }
  EXPECT_THAT(fake.written, IsEmpty());
}

TEST(Progress, FinishedShowsNothingMore) {
  FakeTerminal fake;
  Progress progress("loading", 10, ProgressUnit::kItems, fake.terminal());
  fake.now_s += 1;
  progress.add(1);
  progress.finish();
  fake.now_s += 1;
  progress.add(1);
  EXPECT_EQ(fake.written.size(), 2U);
}

TEST(Progress, SameLineIsNotDrawnAgain) {
  FakeTerminal fake;
  Progress progress("loading", 1000, ProgressUnit::kItems, fake.terminal());
  fake.now_s += 0.15;
  progress.add(1);
  fake.now_s += 0.15;
  progress.add(1);
  EXPECT_EQ(fake.written.size(), 1U);
}

TEST(Progress, CountsAdditionsOfAllThreads) {
  FakeTerminal fake;
  Progress progress("loading", 4000, ProgressUnit::kItems, fake.terminal());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 999; ++n) progress.add(1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  fake.now_s += 0.2;
  progress.add(4);
  EXPECT_THAT(fake.written, ElementsAre(HasSubstr("100%")));
}

TEST(Progress, WithoutATerminalNothingIsAsked) {
  // width and now_s are empty: calling them would throw.
  Progress progress("loading", 10, ProgressUnit::kItems, {});
  progress.add(10);
  progress.finish();
  SUCCEED();
}

}  // namespace
}  // namespace shoehorn
