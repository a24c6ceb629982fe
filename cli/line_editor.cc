#include "line_editor.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <utility>

#include <langinfo.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "terminal.h"

namespace shoehorn::cli {
namespace {

constexpr std::size_t kMaxHistory = 1000;

bool can_move_cursor() {
  const char* kind = std::getenv("TERM");
  return kind != nullptr && *kind != '\0' && std::string_view(kind) != "dumb";
}

winsize window() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) size.ws_col = 80;
  if (size.ws_row == 0) size.ws_row = 24;
  return size;
}

void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno != EINTR) return;
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
}

int next_byte(int timeout_ms) {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  const int ready = ::poll(&input, 1, timeout_ms);
  if (ready < 0) return errno == EINTR ? KeyReader::kSignal : KeyReader::kClosed;
  if (ready == 0) return KeyReader::kTimeout;
  unsigned char byte = 0;
  const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
  if (got < 0) return errno == EINTR ? KeyReader::kSignal : KeyReader::kClosed;
  return got == 0 ? KeyReader::kClosed : byte;
}

bool is_input_waiting() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return ::poll(&input, 1, 0) > 0;
}

void wake_up(int) {}

}  // namespace

/// The terminal gives every key as it is pressed and shows nothing by itself, until the destructor.
class LineEditor::RawMode {
 public:
  RawMode() {
    ok_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
    // A window that changes its size has to end the wait for a key.
    struct sigaction action {};
    action.sa_handler = wake_up;
    ::sigaction(SIGWINCH, &action, &old_winch_);
    enter();
  }
  ~RawMode() {
    leave();
    ::sigaction(SIGWINCH, &old_winch_, nullptr);
  }
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;

  void enter() const {
    if (!ok_) return;
    termios raw = before_;
    raw.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    put("\x1b[?2004h");  // pasted text comes in brackets
  }
  void leave() const {
    if (!ok_) return;
    put("\x1b[?2004l");
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }

 private:
  bool ok_ = false;
  termios before_{};
  struct sigaction old_winch_ {};
};

LineEditor::LineEditor()
    : interactive_(is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO)),
      edits_(interactive_ && can_move_cursor()) {
  // Widths of characters are the locale's; where that knows bytes alone, every system has this one.
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(::nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");
}

LineEditor::~LineEditor() = default;

LineEditor::Result LineEditor::read(std::string_view prompt, std::string& line) {
  return edits_ ? edit(prompt, line) : read_plain(prompt, line);
}

LineEditor::Result LineEditor::read_plain(std::string_view prompt, std::string& line) {
  if (interactive_) std::cout << prompt << std::flush;
  if (std::getline(std::cin, line)) return Result::kLine;
  if (std::cin.bad() || std::cin.eof() || errno != EINTR) return Result::kEnd;
  std::cin.clear();
  std::clearerr(stdin);
  return Result::kInterrupted;
}

void LineEditor::add_to_history(const std::string& line) {
  if (line.empty() || (!history_.empty() && history_.back() == line)) return;
  history_.push_back(line);
  if (history_.size() > kMaxHistory) history_.erase(history_.begin());
}

LineEditor::Result LineEditor::edit(std::string_view prompt, std::string& line) {
  std::cout.flush();
  RawMode mode;
  KeyReader keys(next_byte);
  line_.set("");
  history_at_ = history_.size();
  drawn_row_ = 0;
  drawn_width_ = 0;
  Result result = Result::kLine;
  while (true) {
    // Of what comes faster than it can be drawn, as text pasted without brackets, the end is shown.
    if (!is_input_waiting()) draw(prompt);
    const KeyPress press = keys.next();
    if (press.key == Key::kSuspend) {
      leave_line(prompt);
      mode.leave();
      ::raise(SIGTSTP);
      mode.enter();
      drawn_row_ = 0;
    } else if (press.key == Key::kClearScreen) {
      put("\x1b[H\x1b[2J");
      drawn_row_ = 0;
    } else if (take(press, result)) {
      break;
    }
  }
  leave_line(prompt);
  line = line_.text();
  return result;
}

bool LineEditor::take(const KeyPress& press, Result& result) {
  switch (press.key) {
    case Key::kText: line_.insert(press.text); break;
    case Key::kNewline: line_.insert("\n"); break;
    case Key::kEnter: result = Result::kLine; return true;
    case Key::kInterrupt: result = Result::kInterrupted; return true;
    case Key::kClosed: result = Result::kEnd; return true;
    case Key::kEndOfText:
      if (line_.empty()) {
        result = Result::kEnd;
        return true;
      }
      line_.erase_after();
      break;
    case Key::kLeft: line_.left(); break;
    case Key::kRight: line_.right(); break;
    case Key::kHome: line_.home(); break;
    case Key::kEnd: line_.end(); break;
    case Key::kWordLeft: line_.word_left(); break;
    case Key::kWordRight: line_.word_right(); break;
    case Key::kBackspace: line_.erase_before(); break;
    case Key::kDelete: line_.erase_after(); break;
    case Key::kKillToEnd: killed_ = line_.kill_to_end(); break;
    case Key::kKillToStart: killed_ = line_.kill_to_start(); break;
    case Key::kKillWord: killed_ = line_.kill_word_before(); break;
    case Key::kYank: line_.insert(killed_); break;
    case Key::kUp: walk_history(-1); break;
    case Key::kDown: walk_history(1); break;
    case Key::kResized:
    case Key::kSuspend:
    case Key::kClearScreen:
    case Key::kUnknown: break;
  }
  return false;
}

void LineEditor::walk_history(int step) {
  if (step < 0 ? history_at_ == 0 : history_at_ == history_.size()) return;
  if (history_at_ == history_.size()) draft_ = line_.text();
  history_at_ += step < 0 ? static_cast<std::size_t>(-1) : 1;
  line_.set(history_at_ == history_.size() ? draft_ : history_[history_at_]);
}

void LineEditor::draw(std::string_view prompt) {
  const winsize size = window();
  const ScreenLines screen = lay_out(prompt, line_, size.ws_col);
  // A terminal that became narrower has broken the rows that no longer fit.
  if (drawn_width_ > size.ws_col) {
    drawn_row_ = static_cast<std::size_t>(drawn_cursor_column_ / size.ws_col);
    for (const int columns : drawn_above_) {
      drawn_row_ +=
          static_cast<std::size_t>(std::max((columns + size.ws_col - 1) / size.ws_col, 1));
    }
  }
  std::string out;
  if (drawn_row_ > 0) out += "\x1b[" + std::to_string(drawn_row_) + "A";
  out += "\r\x1b[J";
  // Of more rows than there are, those up to the cursor's.
  const std::size_t room = size.ws_row;
  const std::size_t first = screen.cursor_row < room ? 0 : screen.cursor_row - room + 1;
  const std::size_t last = std::min(screen.rows.size(), first + room);
  for (std::size_t row = first; row < last; ++row) {
    if (row > first) out += "\r\n";
    out += screen.rows[row];
  }
  if (const std::size_t up = last - 1 - screen.cursor_row; up > 0) {
    out += "\x1b[" + std::to_string(up) + "A";
  }
  out += "\r";
  if (screen.cursor_column > 0) out += "\x1b[" + std::to_string(screen.cursor_column) + "C";
  put(out);
  drawn_row_ = screen.cursor_row - first;
  drawn_above_.assign(screen.columns.begin() + static_cast<std::ptrdiff_t>(first),
                      screen.columns.begin() + static_cast<std::ptrdiff_t>(screen.cursor_row));
  drawn_cursor_column_ = screen.cursor_column;
  drawn_width_ = size.ws_col;
}

// The cursor goes below the line, which stays on the screen.
void LineEditor::leave_line(std::string_view prompt) {
  const std::size_t cursor = line_.cursor();
  line_.end();
  draw(prompt);
  put("\r\n");
  while (line_.cursor() > cursor && line_.left()) {
  }
}

}  // namespace shoehorn::cli
