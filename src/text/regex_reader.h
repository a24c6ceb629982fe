// A cursor over the characters of a regular expression, with errors that show where it stands.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace shoehorn::text {

class RegexReader {
 public:
  /// Throws FormatError if the pattern is longer than 64 KiB or not UTF-8.
  explicit RegexReader(std::string_view pattern);

  bool at_end() const { return position_ == text_.size(); }
  std::size_t position() const { return position_; }
  void seek(std::size_t position) { position_ = position; }

  /// These fail at the end of the pattern.
  char32_t peek() const;
  char32_t next();

  /// Steps over `c` or `word` if it is next.
  bool accept(char32_t c);
  bool accept(std::string_view word);
  void expect(char32_t c);

  /// A decimal number if one is next. Fails above `max`.
  std::optional<int> number(int max);
  /// Up to `max_digits` hexadecimal digits. Fails if there are none.
  char32_t hex(int max_digits);

  /// Throws FormatError.
  [[noreturn]] void fail(std::string_view what) const;

 private:
  std::string pattern_;
  std::u32string text_;
  std::size_t position_ = 0;
};

}  // namespace shoehorn::text
