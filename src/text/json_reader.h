// A pull parser for JSON (RFC 8259), made for files with a million short strings: it keeps no index
// and copies only strings that have escapes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "text/json_value.h"

namespace shoehorn::text {

/// Borrows the text. Every function throws FormatError (without a file name) that tells the byte
/// where the text is not JSON. Not thread-safe.
class JsonReader {
 public:
  /// Deepest nesting that is read.
  static constexpr int kMaxDepth = 32;

  /// A string: a part of the text where it has no escapes, else of the reader's own copy.
  struct String {
    std::uint32_t offset = 0;
    std::uint32_t length : 31 = 0;
    std::uint32_t escaped : 1 = 0;
  };

  /// Reads from byte `position` on. Throws FormatError for 2 GiB of text or more.
  explicit JsonReader(std::string_view text, std::size_t position = 0);

  /// The character that the next value (or bracket) starts with; NUL at the end.
  char peek();
  /// Steps over `c` if it is next.
  bool accept(char c) {
    skip_space();
    if (position_ == text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail_expected(c);
  }
  /// Nothing but white space may follow.
  void expect_end();

  /// Loop over an object: after '{', `while (next_member(first)) { read_string(); expect(':'); ...
  /// }`. False at the closing bracket, which is consumed. `first` starts as true.
  bool next_member(bool& first) { return next_in('}', first); }
  /// The same for an array.
  bool next_item(bool& first) { return next_in(']', first); }

  String read_string();
  /// Valid UTF-8; lives as long as the reader and its text.
  std::string_view view(String s) const {
    return {(s.escaped ? unescaped_.get() : text_.data()) + s.offset, s.length};
  }
  /// A part of a string, from byte `begin` on; the cut must be between characters.
  static String part(String s, std::size_t begin, std::size_t length) {
    s.offset += static_cast<std::uint32_t>(begin);
    s.length = static_cast<std::uint32_t>(length) & 0x7FFFFFFF;
    return s;
  }
  /// A number without fraction and exponent that fits 64 bits.
  std::int64_t read_integer();
  /// As `serde_double` reads numbers, which is not always the nearest double.
  double read_double();
  /// The nearest double.
  double read_exact_double();
  /// The text of any number; `integer`: it has no fraction and no exponent.
  std::string_view read_number(bool& integer);
  /// Steps over "true", "false" or "null".
  void read_word(std::string_view word);
  /// Steps over an object or array of which nothing is looked at but where it ends: another reader
  /// may find that it is not JSON.
  void skip_nested();
  /// A whole value, for the small parts of a file.
  JsonValue read_value(const std::string& place) { return read_value(place, 0); }

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return text_.size() - position_; }
  [[noreturn]] void fail(std::string_view what) const;

 private:
  [[noreturn]] void fail_expected(char c) const;
  bool next_in(char close, bool& first);
  void skip_space() {
    // Mostly there is nothing to skip, or the indentation of a pretty-printed file.
    if (position_ < text_.size() && text_[position_] > ' ') return;
    skip_all_space();
  }
  void skip_all_space();
  std::size_t find_stop(std::size_t at, bool& foreign) const;
  String read_escaped(std::size_t begin);
  char* unescape(char* out);
  char32_t read_hex4();
  JsonValue read_value(const std::string& place, int depth);

  std::string_view text_;
  std::size_t position_ = 0;
  std::size_t values_ = 0;
  // Strings without their escapes, which makes them shorter: as long as the text is enough, and the
  // pages that are not used cost nothing.
  std::unique_ptr<char[]> unescaped_;
  std::size_t unescaped_bytes_ = 0;
};

}  // namespace shoehorn::text
