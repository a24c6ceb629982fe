// A line while it is typed: UTF-8 text and a cursor, and how both look on a terminal of some width.
// Knows nothing of files and keys.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace shoehorn::cli {

/// Columns that a code point takes as it is shown: 2 for wide ones, 0 for those that join the one
/// before. Control characters are shown as ^X, so they take 2. Asks the locale (LC_CTYPE).
int columns_of(char32_t code_point);

/// The code point at `at` (U+FFFD for a byte that begins none), which is moved behind it.
char32_t next_code_point(std::string_view text, std::size_t& at);

/// `text` without what would move the cursor or colour the screen: control characters other than
/// newline and tab become ^X.
std::string shown_text(std::string_view text);

class LineBuffer {
 public:
  const std::string& text() const { return text_; }
  std::size_t cursor() const { return cursor_; }  // bytes before it
  bool empty() const { return text_.empty(); }

  /// The cursor goes behind the text.
  void set(std::string text);
  void insert(std::string_view text);

  // Moves go over whole characters with what joins them. False where there is nowhere to go.
  bool left();
  bool right();
  void home() { cursor_ = 0; }
  void end() { cursor_ = text_.size(); }
  void word_left();
  void word_right();

  bool erase_before();
  bool erase_after();
  /// What was erased.
  std::string kill_to_end();
  std::string kill_to_start();
  std::string kill_word_before();

 private:
  std::size_t before(std::size_t at) const;
  std::size_t after(std::size_t at) const;

  std::string text_;
  std::size_t cursor_ = 0;
};

/// A prompt and a line, cut into the rows of a terminal.
struct ScreenLines {
  std::vector<std::string> rows;  // at least one
  std::vector<int> columns;       // that each takes
  std::size_t cursor_row = 0;
  int cursor_column = 0;
};
/// `prompt` takes its columns in the first row. A wide character that does not fit at the end of a
/// row begins the next. `width` of 1 is taken as 2.
ScreenLines lay_out(std::string_view prompt, const LineBuffer& line, int width);

}  // namespace shoehorn::cli
