#include "generate/stop_strings.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

// All that goes out, and whether a stop string ended it.
struct Streamed {
  std::string text;
  bool matched;
};

Streamed stream(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopStrings watcher(stops);
  std::string text;
  for (const std::string& piece : pieces) text += watcher.push(piece);
  text += watcher.flush();
  return {text, watcher.matched()};
}

TEST(StopStrings, TextEndsBeforeTheStopString) {
  EXPECT_EQ(stream({"END"}, {"one END two"}).text, "one ");
}

TEST(StopStrings, StopStringMayArriveInPieces) {
  EXPECT_EQ(stream({"END"}, {"one E", "N", "D two"}).text, "one ");
}

TEST(StopStrings, PrefixIsHeldBack) {
  StopStrings watcher({"END"});
  EXPECT_EQ(watcher.push("one EN"), "one ");
}

TEST(StopStrings, PrefixThatDoesNotGoOnComesFree) {
  StopStrings watcher({"END"});
  watcher.push("one EN");
  EXPECT_EQ(watcher.push("T"), "ENT");
}

TEST(StopStrings, OnlyTheLongestPossiblePrefixIsHeldBack) {
  StopStrings watcher({"aab"});
  EXPECT_EQ(watcher.push("aaa"), "a");
}

TEST(StopStrings, OverlappingStartIsFound) {
  EXPECT_EQ(stream({"aab"}, {"a", "a", "aab"}).text, "aa");
}

TEST(StopStrings, FallsBackWithinTheStopString) {
  EXPECT_EQ(stream({"abababc"}, {"xababababc!"}).text, "xab");
}

TEST(StopStrings, FlushGivesBackAnUnfinishedPrefix) {
  EXPECT_EQ(stream({"END"}, {"one EN"}).text, "one EN");
}

TEST(StopStrings, FirstOfSeveralToBeCompleteEndsTheText) {
  EXPECT_EQ(stream({"three", "two"}, {"one two three"}).text, "one ");
}

TEST(StopStrings, StringInsideALongerOneIsCompleteFirst) {
  EXPECT_EQ(stream({"abcd", "bc"}, {"xabcd"}).text, "xa");
}

TEST(StopStrings, LongestOfThoseThatEndTogetherIsCutOff) {
  EXPECT_EQ(stream({"c", "abc"}, {"xabc"}).text, "x");
}

TEST(StopStrings, NothingComesAfterAMatch) {
  StopStrings watcher({"END"});
  watcher.push("END");
  EXPECT_EQ(watcher.push("more"), "");
  EXPECT_EQ(watcher.flush(), "");
}

TEST(StopStrings, UnfinishedStringIsNoMatch) {
  EXPECT_FALSE(stream({"END"}, {"one EN"}).matched);
}

TEST(StopStrings, MultiByteCharactersStayWhole) {
  // U+00E9 and U+00E8 share their first byte.
  StopStrings watcher({"\xC3\xA9"});
  EXPECT_EQ(watcher.push("caf\xC3\xA8"), "caf\xC3\xA8");
}

TEST(StopStrings, NoStringsLetEverythingThrough) {
  EXPECT_EQ(stream({}, {"a", "b"}).text, "ab");
}

TEST(StopStrings, EmptyStringIsAnError) {
  EXPECT_THROW(StopStrings({""}), ArgumentError);
}

TEST(StopStrings, StringFromInsideACharacterIsAnError) {
  EXPECT_THROW(StopStrings({"\xA9"}), ArgumentError);
}

// The definition, over the whole text: the match that ends first, then the longest.
Streamed cut_by_definition(const std::vector<std::string>& stops, const std::string& text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

TEST(StopStrings, RandomTextsInRandomPiecesFollowTheDefinition) {
  std::mt19937 random(1);
  const auto word = [&](std::size_t length) {
    std::string letters;
    for (std::size_t i = 0; i < length; ++i) letters.push_back("ab"[random() % 2]);
    return letters;
  };
  int matches = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> stops;
    for (std::size_t i = 0; i < 1 + random() % 3; ++i) stops.push_back(word(2 + random() % 6));
    const std::string text = word(random() % 24);
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < text.size();) {
      pieces.push_back(text.substr(at, random() % 5));
      at += pieces.back().size();
    }
    const Streamed expected = cut_by_definition(stops, text);
    const Streamed got = stream(stops, pieces);
    ASSERT_EQ(got.text, expected.text) << text;
    ASSERT_EQ(got.matched, expected.matched) << text;
    matches += got.matched;
  }
  EXPECT_GT(matches, 1000);
}

}  // namespace
}  // namespace shoehorn
