#include "line_buffer.h"

#include <algorithm>
#include <utility>

#include <wchar.h>

namespace shoehorn::cli {
namespace {

constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kZeroWidthJoiner = 0x200D;

bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0);
}

// ^A for 0x01, ^? for 0x7F; C1 controls as their 7-bit twins.
std::string caret(char32_t c) {
  const auto low = static_cast<char>(c & 0x7F);
  return {'^', static_cast<char>(low ^ 0x40)};
}

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t';
}

}  // namespace

int columns_of(char32_t code_point) {
  if (is_control(code_point)) return 2;
  const int columns = ::wcwidth(static_cast<wchar_t>(code_point));
  return columns < 0 ? 1 : columns;
}

char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const int more = lead < 0x80                   ? 0
                   : lead >= 0xF0 && lead < 0xF5 ? 3
                   : lead >= 0xE0 && lead < 0xF0 ? 2
                   : lead >= 0xC2 && lead < 0xE0 ? 1
                                                 : -1;
  if (more == 0) return text[at++];
  if (more < 0 || text.size() - at <= static_cast<std::size_t>(more)) {
    ++at;
    return kReplacement;
  }
  char32_t code = lead & (0x3FU >> more);
  for (int i = 1; i <= more; ++i) {
    const unsigned char next = byte(at + static_cast<std::size_t>(i));
    if ((next & 0xC0) != 0x80) {
      ++at;
      return kReplacement;
    }
    code = (code << 6) | (next & 0x3FU);
  }
  at += static_cast<std::size_t>(more) + 1;
  return code;
}

std::string shown_text(std::string_view text) {
  std::string shown;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t code = next_code_point(text, at);
    if (is_control(code) && code != '\n' && code != '\t') {
      shown += caret(code);
    } else {
      shown += text.substr(begin, at - begin);
    }
  }
  return shown;
}

void LineBuffer::set(std::string text) {
  text_ = std::move(text);
  cursor_ = text_.size();
}

void LineBuffer::insert(std::string_view text) {
  text_.insert(cursor_, text);
  cursor_ += text.size();
}

// The end of the character at `at`: its code point and those that join it.
std::size_t LineBuffer::after(std::size_t at) const {
  char32_t last = next_code_point(text_, at);
  while (at < text_.size()) {
    std::size_t next = at;
    const char32_t code = next_code_point(text_, next);
    if (columns_of(code) != 0 && last != kZeroWidthJoiner) break;
    last = code;
    at = next;
  }
  return at;
}

// Text is walked from its beginning: only that tells where characters are. Lines are short.
std::size_t LineBuffer::before(std::size_t at) const {
  std::size_t begin = 0;
  for (std::size_t next = 0; next < at; next = after(next)) begin = next;
  return begin;
}

bool LineBuffer::left() {
  if (cursor_ == 0) return false;
  cursor_ = before(cursor_);
  return true;
}

bool LineBuffer::right() {
  if (cursor_ == text_.size()) return false;
  cursor_ = after(cursor_);
  return true;
}

void LineBuffer::word_left() {
  while (cursor_ > 0 && is_space(text_[cursor_ - 1])) --cursor_;
  while (cursor_ > 0 && !is_space(text_[cursor_ - 1])) --cursor_;
}

void LineBuffer::word_right() {
  while (cursor_ < text_.size() && is_space(text_[cursor_])) ++cursor_;
  while (cursor_ < text_.size() && !is_space(text_[cursor_])) ++cursor_;
}

bool LineBuffer::erase_before() {
  const std::size_t end = cursor_;
  if (!left()) return false;
  text_.erase(cursor_, end - cursor_);
  return true;
}

bool LineBuffer::erase_after() {
  if (cursor_ == text_.size()) return false;
  text_.erase(cursor_, after(cursor_) - cursor_);
  return true;
}

std::string LineBuffer::kill_to_end() {
  std::string killed = text_.substr(cursor_);
  text_.erase(cursor_);
  return killed;
}

std::string LineBuffer::kill_to_start() {
  std::string killed = text_.substr(0, cursor_);
  text_.erase(0, cursor_);
  cursor_ = 0;
  return killed;
}

std::string LineBuffer::kill_word_before() {
  const std::size_t end = cursor_;
  word_left();
  std::string killed = text_.substr(cursor_, end - cursor_);
  text_.erase(cursor_, end - cursor_);
  return killed;
}

ScreenLines lay_out(std::string_view prompt, const LineBuffer& line, int width) {
  width = std::max(width, 2);
  ScreenLines screen;
  screen.rows.emplace_back();
  int column = 0;
  const auto begin_row = [&] {
    screen.columns.push_back(column);
    screen.rows.emplace_back();
    column = 0;
  };
  const auto put = [&](std::string_view shown, int columns) {
    if (column + columns > width) begin_row();
    screen.rows.back() += shown;
    column += columns;
  };
  for (std::size_t at = 0; at < prompt.size();) {
    const std::size_t begin = at;
    const char32_t code = next_code_point(prompt, at);
    put(prompt.substr(begin, at - begin), columns_of(code));
  }
  const std::string_view text = line.text();
  const auto mark_cursor = [&] {
    // A full row leaves the cursor at the beginning of the next.
    if (column >= width) begin_row();
    screen.cursor_row = screen.rows.size() - 1;
    screen.cursor_column = column;
  };
  for (std::size_t at = 0; at < text.size();) {
    if (at == line.cursor()) mark_cursor();
    const std::size_t begin = at;
    const char32_t code = next_code_point(text, at);
    if (code == '\n') {
      begin_row();
    } else if (is_control(code)) {
      put(caret(code), 2);
    } else {
      put(text.substr(begin, at - begin), columns_of(code));
    }
  }
  if (line.cursor() == text.size()) mark_cursor();
  screen.columns.push_back(column);
  return screen;
}

}  // namespace shoehorn::cli
