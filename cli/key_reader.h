// Keys of a terminal, from the bytes that it sends.
#pragma once

#include <functional>
#include <string>

namespace shoehorn::cli {

enum class Key {
  kText,  // characters, or what was pasted
  kEnter,
  kNewline,  // Alt-Enter: a line break within the line
  kLeft,
  kRight,
  kUp,
  kDown,
  kHome,
  kEnd,
  kWordLeft,
  kWordRight,
  kBackspace,
  kDelete,
  kKillToEnd,
  kKillToStart,
  kKillWord,
  kYank,
  kClearScreen,
  kInterrupt,  // Ctrl-C
  kSuspend,    // Ctrl-Z
  kEndOfText,  // Ctrl-D
  kResized,    // a signal came in between: the terminal may have another size
  kClosed,     // no more input
  kUnknown,
};

struct KeyPress {
  Key key = Key::kUnknown;
  std::string text = {};  // of kText: valid UTF-8
};

class KeyReader {
 public:
  static constexpr int kTimeout = -1;
  static constexpr int kClosed = -2;
  static constexpr int kSignal = -3;
  /// `next_byte(timeout_ms)`: the next byte, or one of the above; a negative timeout waits.
  explicit KeyReader(std::function<int(int timeout_ms)> next_byte)
      : next_byte_(std::move(next_byte)) {}

  KeyPress next();

 private:
  KeyPress escape();
  KeyPress control_sequence();
  KeyPress paste();
  KeyPress characters(unsigned char first);

  std::function<int(int timeout_ms)> next_byte_;
};

}  // namespace shoehorn::cli
