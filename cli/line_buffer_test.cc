#include "line_buffer.h"

#include <clocale>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoehorn::cli {
namespace {

using ::testing::ElementsAre;

class LineBufferTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Widths of characters are the locale's.
    if (std::setlocale(LC_CTYPE, "C.UTF-8") == nullptr) GTEST_SKIP() << "no C.UTF-8 here";
  }
  static LineBuffer line(const std::string& text) {
    LineBuffer buffer;
    buffer.set(text);
    return buffer;
  }
};

TEST_F(LineBufferTest, MovesOverWholeCharacters) {
  LineBuffer buffer = line("a漢e\u0301👩‍🚀z");
  std::vector<std::size_t> stops;
  do stops.push_back(buffer.cursor());
  while (buffer.left());
  // z, the astronaut of three code points, e with its accent, the wide character, a.
  EXPECT_THAT(stops, ElementsAre(19, 18, 7, 4, 1, 0));
  EXPECT_TRUE(buffer.right());
  EXPECT_TRUE(buffer.erase_after());
  EXPECT_EQ(buffer.text(), "ae\u0301👩‍🚀z");
}

TEST_F(LineBufferTest, ErasesWithWhatJoins) {
  LineBuffer buffer = line("xe\u0301");
  EXPECT_TRUE(buffer.erase_before());
  EXPECT_EQ(buffer.text(), "x");
  EXPECT_TRUE(buffer.erase_before());
  EXPECT_FALSE(buffer.erase_before());
}

TEST_F(LineBufferTest, KillsWordsAndEnds) {
  LineBuffer buffer = line("one two  three");
  EXPECT_EQ(buffer.kill_word_before(), "three");
  EXPECT_EQ(buffer.kill_word_before(), "two  ");
  buffer.insert("2");
  buffer.home();
  buffer.word_right();
  EXPECT_EQ(buffer.kill_to_end(), " 2");
  EXPECT_EQ(buffer.kill_to_start(), "one");
  EXPECT_TRUE(buffer.empty());
}

TEST_F(LineBufferTest, BreaksWideCharactersToTheNextRow) {
  const ScreenLines screen = lay_out("> ", line("ab漢字"), 5);
  EXPECT_THAT(screen.rows, ElementsAre("> ab", "漢字"));
  EXPECT_THAT(screen.columns, ElementsAre(4, 4));
  EXPECT_EQ(screen.cursor_row, 1U);
  EXPECT_EQ(screen.cursor_column, 4);
}

TEST_F(LineBufferTest, AFullRowLeavesTheCursorInTheNext) {
  const ScreenLines screen = lay_out("> ", line("abc"), 5);
  EXPECT_THAT(screen.rows, ElementsAre("> abc", ""));
  EXPECT_EQ(screen.cursor_row, 1U);
  EXPECT_EQ(screen.cursor_column, 0);
}

TEST_F(LineBufferTest, ShowsLinesAndControls) {
  LineBuffer buffer = line("a\nb\x01");
  buffer.home();
  const ScreenLines screen = lay_out("> ", buffer, 80);
  EXPECT_THAT(screen.rows, ElementsAre("> a", "b^A"));
  EXPECT_EQ(screen.cursor_row, 0U);
  EXPECT_EQ(screen.cursor_column, 2);
}

TEST_F(LineBufferTest, EveryWidthHoldsEveryText) {
  for (int width = 1; width < 12; ++width) {
    LineBuffer buffer = line("héllo 漢字 👩‍🚀\nx");
    do {
      const ScreenLines screen = lay_out("> ", buffer, width);
      ASSERT_LT(screen.cursor_row, screen.rows.size());
      ASSERT_LT(screen.cursor_column, std::max(width, 2));
    } while (buffer.left());
  }
}

TEST_F(LineBufferTest, BrokenBytesAreOneCharacterEach) {
  LineBuffer buffer = line("\xFF\xE6\xBC");
  int steps = 0;
  while (buffer.left()) ++steps;
  EXPECT_EQ(steps, 3);
}

TEST(ShownText, LeavesNothingThatMovesTheCursor) {
  EXPECT_EQ(shown_text("a\x1b[2Jb\nc\td"), "a^[[2Jb\nc\td");
  EXPECT_EQ(shown_text("\xC2\x9B"
                       "1m"),
            "^[1m");  // the C1 control that begins a sequence
  EXPECT_EQ(shown_text("漢"), "漢");
}

}  // namespace
}  // namespace shoehorn::cli
