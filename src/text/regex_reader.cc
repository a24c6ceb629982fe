// The cursor over a pattern.
#include "text/regex_reader.h"

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/utf8.h"

namespace shoehorn::text {

namespace {

constexpr std::size_t kMaxPatternBytes = 1 << 16;

}  // namespace

RegexReader::RegexReader(std::string_view pattern) : pattern_(pattern.substr(0, 200)) {
  if (pattern.size() > kMaxPatternBytes) {
    throw FormatError(str_cat("a regular expression of ", pattern.size(), " bytes; at most ",
                              kMaxPatternBytes, " are supported"));
  }
  if (!is_valid_utf8(pattern)) throw FormatError("a regular expression that is not UTF-8");
  for (std::size_t i = 0, length = 0; i < pattern.size(); i += length) {
    text_.push_back(decode_utf8(pattern.data() + i, length));
  }
}

char32_t RegexReader::peek() const {
  if (at_end()) fail("the pattern ends too early");
  return text_[position_];
}

char32_t RegexReader::next() {
  const char32_t c = peek();
  ++position_;
  return c;
}

bool RegexReader::accept(char32_t c) {
  if (at_end() || text_[position_] != c) return false;
  ++position_;
  return true;
}

bool RegexReader::accept(std::string_view word) {
  if (text_.size() - position_ < word.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (text_[position_ + i] != static_cast<unsigned char>(word[i])) return false;
  }
  position_ += word.size();
  return true;
}

void RegexReader::expect(char32_t c) {
  if (!accept(c)) fail(str_cat("expected ", static_cast<char>(c)));
}

std::optional<int> RegexReader::number(int max) {
  std::optional<int> result;
  while (!at_end() && text_[position_] >= '0' && text_[position_] <= '9') {
    result = result.value_or(0) * 10 + static_cast<int>(text_[position_] - '0');
    if (*result > max) fail(str_cat("a number above ", max));
    ++position_;
  }
  return result;
}

char32_t RegexReader::hex(int max_digits) {
  char32_t value = 0;
  int digits = 0;
  for (; digits < max_digits && !at_end(); ++digits, ++position_) {
    const char32_t c = text_[position_];
    if (c >= '0' && c <= '9') {
      value = value * 16 + (c - '0');
    } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
      value = value * 16 + ((c | 32) - 'a' + 10);
    } else {
      break;
    }
  }
  if (digits == 0) fail("expected a hexadecimal number");
  return value;
}

void RegexReader::fail(std::string_view what) const {
  throw FormatError(str_cat("regular expression \"", utf8_lossy(pattern_), "\", character ",
                            position_, ": ", what));
}

}  // namespace shoehorn::text
