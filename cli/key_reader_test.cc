#include "key_reader.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoehorn::cli {
namespace {

using ::testing::ElementsAre;

/// The keys of some bytes, which come without pauses; then the input is closed.
std::vector<KeyPress> presses(const std::string& bytes) {
  std::size_t at = 0;
  KeyReader reader([&](int) -> int {
    return at < bytes.size() ? static_cast<unsigned char>(bytes[at++]) : KeyReader::kClosed;
  });
  std::vector<KeyPress> result;
  for (;;) {
    result.push_back(reader.next());
    if (result.back().key == Key::kClosed) return result;
  }
}

std::vector<Key> keys(const std::string& bytes) {
  std::vector<Key> result;
  for (const KeyPress& press : presses(bytes)) result.push_back(press.key);
  result.pop_back();
  return result;
}

TEST(KeyReader, KnowsArrowsInEverySpelling) {
  EXPECT_THAT(keys("\x1b[A\x1b[B\x1bOC\x1b[D"),
              ElementsAre(Key::kUp, Key::kDown, Key::kRight, Key::kLeft));
  EXPECT_THAT(keys("\x1b[1;5C\x1b[1;5D\x1b"
                   "b\x1b"
                   "f"),
              ElementsAre(Key::kWordRight, Key::kWordLeft, Key::kWordLeft, Key::kWordRight));
  EXPECT_THAT(keys("\x1b[H\x1b[4~\x1b[3~\x1b[1~"),
              ElementsAre(Key::kHome, Key::kEnd, Key::kDelete, Key::kHome));
}

TEST(KeyReader, KnowsControls) {
  EXPECT_THAT(
      keys("\x01\x03\x04\x05\x7f\r\x1b\r\x15\x17\x1a"),
      ElementsAre(Key::kHome, Key::kInterrupt, Key::kEndOfText, Key::kEnd, Key::kBackspace,
                  Key::kEnter, Key::kNewline, Key::kKillToStart, Key::kKillWord, Key::kSuspend));
}

TEST(KeyReader, PutsCharactersTogether) {
  const auto all = presses("漢é");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].text, "漢");
  EXPECT_EQ(all[1].text, "é");
}

TEST(KeyReader, BrokenCharactersBecomeReplacements) {
  EXPECT_EQ(presses("\xFF")[0].text, "\xEF\xBF\xBD");
  EXPECT_EQ(presses("\xE6\xBC")[0].text, "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(KeyReader, TakesPastedLinesAsText) {
  const auto all = presses("\x1b[200~one\rtwo\r\nthree\x1b[201~\r");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].key, Key::kText);
  EXPECT_EQ(all[0].text, "one\ntwo\nthree");
  EXPECT_EQ(all[1].key, Key::kEnter);
}

TEST(KeyReader, UnknownSequencesEnd) {
  EXPECT_THAT(keys("\x1b[99;99;99Xa"), ElementsAre(Key::kUnknown, Key::kText));
  EXPECT_THAT(keys("\x1b"), ElementsAre(Key::kUnknown));
}

}  // namespace
}  // namespace shoehorn::cli
