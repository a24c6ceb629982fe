// Reads lines from a person at a terminal: arrows, history, wide characters, pasted text of several
// lines, a window that changes its size. Elsewhere lines are read as they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "key_reader.h"
#include "line_buffer.h"

namespace shoehorn::cli {

class LineEditor {
 public:
  enum class Result {
    kLine,
    kInterrupted,  // Ctrl-C: the line was given up
    kEnd,          // end of input
  };

  /// Edits where stdin and stdout are a terminal that can move its cursor.
  LineEditor();
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// A person sits there (also at a terminal that cannot move its cursor).
  bool is_interactive() const { return interactive_; }

  /// The next line, without its newline. A line of an editor may hold newlines (Alt-Enter, paste).
  Result read(std::string_view prompt, std::string& line);
  void add_to_history(const std::string& line);

 private:
  class RawMode;

  Result edit(std::string_view prompt, std::string& line);
  Result read_plain(std::string_view prompt, std::string& line);
  /// Nothing while the line goes on.
  bool take(const KeyPress& press, Result& result);
  void walk_history(int step);
  void draw(std::string_view prompt);
  void leave_line(std::string_view prompt);

  bool interactive_;
  bool edits_;
  LineBuffer line_;
  std::string killed_;
  std::vector<std::string> history_;
  std::size_t history_at_ = 0;
  std::string draft_;  // the line that was typed before the history was walked
  // What the terminal shows: rows above the cursor and the columns that they take, the cursor's
  // column, and the width it was drawn for.
  std::size_t drawn_row_ = 0;
  std::vector<int> drawn_above_;
  int drawn_cursor_column_ = 0;
  int drawn_width_ = 0;
};

}  // namespace shoehorn::cli
