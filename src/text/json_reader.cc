// Strings and numbers are where the time goes; the rest is recursive descent.
#include "text/json_reader.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/serde_double.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 31;
constexpr std::size_t kMaxValues = 4'000'000;  // in the small parts

constexpr std::uint64_t kOnes = 0x0101010101010101;
constexpr std::uint64_t kHighs = 0x8080808080808080;

// The high bit of each byte of `word` that is zero; bytes above the first one may be marked
// wrongly.
constexpr std::uint64_t zero_bytes(std::uint64_t word) {
  return (word - kOnes) & ~word & kHighs;
}

// The same for bytes that end a stretch of a string: a quote, an escape, a control character.
constexpr std::uint64_t stop_bytes(std::uint64_t word) {
  const std::uint64_t controls = (word - 0x20 * kOnes) & ~word & kHighs;
  return zero_bytes(word ^ 0x22 * kOnes) | zero_bytes(word ^ 0x5C * kOnes) | controls;
}

bool is_stop(char c) {
  return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
}

bool is_bracket_or_quote(char c) {
  return c == '"' || (c | 0x20) == '{' || (c | 0x20) == '}';  // [ and ] without the bit
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

JsonReader::JsonReader(std::string_view text, std::size_t position)
    : text_(text), position_(position) {
  if (text.size() >= kMaxBytes) throw FormatError("JSON of 2 GiB or more is not supported");
}

void JsonReader::fail(std::string_view what) const {
  throw FormatError(str_cat("not valid JSON at byte ", position_, ": ", what));
}

void JsonReader::fail_expected(char c) const {
  fail(str_cat("expected ", c));
}

void JsonReader::skip_all_space() {
  constexpr std::uint64_t kSpaces = 0x2020202020202020;
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
    ++position_;
    while (position_ + 8 <= text_.size()) {  // the indentation of the next line
      std::uint64_t word;
      std::memcpy(&word, text_.data() + position_, 8);
      const int spaces = word == kSpaces ? 8 : std::countr_zero(word ^ kSpaces) / 8;
      position_ += static_cast<std::size_t>(spaces);
      if (spaces < 8) break;
    }
  }
}

char JsonReader::peek() {
  skip_space();
  return position_ < text_.size() ? text_[position_] : '\0';
}

void JsonReader::expect_end() {
  skip_space();
  if (position_ != text_.size()) fail("something follows the end");
}

bool JsonReader::next_in(char close, bool& first) {
  if (accept(close)) return false;
  if (!first) expect(',');
  first = false;
  return true;
}

// Position of the first byte that a string does not simply contain; whether a byte before it is not
// ASCII goes to `foreign`.
std::size_t JsonReader::find_stop(std::size_t at, bool& foreign) const {
  std::uint64_t seen = 0;
  for (; at + 8 <= text_.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text_.data() + at, 8);
    const std::uint64_t stops = stop_bytes(word);
    if (stops != 0) {
      const int bits = std::countr_zero(stops) & ~7;  // before the stop, which is the lowest one
      const std::uint64_t before = (std::uint64_t{1} << bits) - 1;
      foreign = ((seen | (word & before)) & kHighs) != 0;
      return at + static_cast<std::size_t>(bits) / 8;
    }
    seen |= word;
  }
  for (; at < text_.size() && !is_stop(text_[at]); ++at) {
    seen |= static_cast<unsigned char>(text_[at]);
  }
  foreign = (seen & kHighs) != 0;
  return at;
}

JsonReader::String JsonReader::read_string() {
  expect('"');
  const std::size_t begin = position_;
  bool foreign = false;
  position_ = find_stop(begin, foreign);
  if (position_ == text_.size()) fail("a string without end");
  if (text_[position_] == '\\') return read_escaped(begin);
  if (text_[position_] != '"') fail("a control character in a string");
  const std::size_t length = position_ - begin;
  if (foreign && !is_valid_utf8(text_.substr(begin, length))) fail("a string that is not UTF-8");
  ++position_;
  String result;
  result.offset = static_cast<std::uint32_t>(begin);
  result.length = static_cast<std::uint32_t>(length) & 0x7FFFFFFF;
  return result;
}

// From the first escape on; the text before it starts at `begin`.
JsonReader::String JsonReader::read_escaped(std::size_t begin) {
  if (!unescaped_) unescaped_.reset(new char[text_.size()]);
  char* const first = unescaped_.get() + unescaped_bytes_;
  char* out = std::copy(text_.begin() + static_cast<std::ptrdiff_t>(begin),
                        text_.begin() + static_cast<std::ptrdiff_t>(position_), first);
  for (;;) {
    if (position_ == text_.size()) fail("a string without end");
    const char c = text_[position_];
    if (c == '"') break;
    if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
    ++position_;
    if (c == '\\') {
      out = unescape(out);
    } else {
      *out++ = c;
    }
  }
  const auto length = static_cast<std::size_t>(out - first);
  if (!is_valid_utf8({first, length})) fail("a string that is not UTF-8");
  ++position_;
  String result;
  result.offset = static_cast<std::uint32_t>(unescaped_bytes_);
  result.length = static_cast<std::uint32_t>(length) & 0x7FFFFFFF;
  result.escaped = 1;
  unescaped_bytes_ += length;
  return result;
}

// Writes the character whose escape goes on at `position_`, after the backslash; returns its end.
char* JsonReader::unescape(char* out) {
  if (position_ == text_.size()) fail("a string without end");
  const char c = text_[position_++];
  switch (c) {
    case '"':
    case '\\':
    case '/': *out++ = c; return out;
    case 'b': *out++ = '\b'; return out;
    case 'f': *out++ = '\f'; return out;
    case 'n': *out++ = '\n'; return out;
    case 'r': *out++ = '\r'; return out;
    case 't': *out++ = '\t'; return out;
    case 'u': break;
    default: fail("an unknown escape");
  }
  char32_t value = read_hex4();
  if (value >= 0xD800 && value <= 0xDBFF) {
    if (text_.substr(position_, 2) != "\\u") fail("half a surrogate pair");
    position_ += 2;
    const char32_t low = read_hex4();
    if (low < 0xDC00 || low > 0xDFFF) fail("half a surrogate pair");
    value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
  } else if (value >= 0xDC00 && value <= 0xDFFF) {
    fail("half a surrogate pair");
  }
  std::string character;
  append_utf8(character, value);
  return std::copy(character.begin(), character.end(), out);
}

char32_t JsonReader::read_hex4() {
  const std::string_view digits = text_.substr(position_, 4);
  std::uint32_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() < 4 || error != std::errc() || end != digits.data() + 4) {
    fail("expected four hexadecimal digits");
  }
  position_ += 4;
  return value;
}

std::string_view JsonReader::read_number(bool& integer) {
  skip_space();
  const std::size_t begin = position_;
  const auto digits = [this] {
    const std::size_t first = position_;
    while (position_ < text_.size() && is_digit(text_[position_])) ++position_;
    if (position_ == first) fail("expected a number");
  };
  const auto next_is = [this](char a, char b) {
    return position_ < text_.size() && (text_[position_] == a || text_[position_] == b);
  };
  if (next_is('-', '-')) ++position_;
  const std::size_t first = position_;
  digits();
  if (text_[first] == '0' && position_ > first + 1) fail("a number with a leading zero");
  integer = true;
  if (next_is('.', '.')) {
    integer = false;
    ++position_;
    digits();
  }
  if (next_is('e', 'E')) {
    integer = false;
    ++position_;
    if (next_is('+', '-')) ++position_;
    digits();
  }
  return text_.substr(begin, position_ - begin);
}

std::int64_t JsonReader::read_integer() {
  bool integer = false;
  const std::string_view digits = read_number(integer);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (!integer || error != std::errc()) fail("expected an integer of 64 bits");
  return value;
}

double JsonReader::read_double() {
  bool integer = false;
  const std::optional<double> value = serde_double(read_number(integer));
  if (!value) fail("a number out of range");
  return *value;
}

double JsonReader::read_exact_double() {
  bool integer = false;
  const std::string_view digits = read_number(integer);
  double value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (result.ec != std::errc()) fail("a number out of range");
  return value;
}

void JsonReader::read_word(std::string_view word) {
  if (text_.substr(position_, word.size()) != word) fail("expected a value");
  position_ += word.size();
}

void JsonReader::skip_nested() {
  skip_space();
  bool foreign = false;
  std::size_t depth = 0;
  do {
    while (position_ < text_.size() && !is_bracket_or_quote(text_[position_])) ++position_;
    if (position_ == text_.size()) fail("a list or an object without end");
    const char c = text_[position_++];
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (c != '"') continue;
    for (;; ++position_) {
      position_ = find_stop(std::min(position_, text_.size()), foreign);
      if (position_ == text_.size()) fail("a string without end");
      if (text_[position_] == '"') break;
      if (text_[position_] == '\\') ++position_;
    }
    ++position_;
  } while (depth > 0);
}

JsonValue JsonReader::read_value(const std::string& place, int depth) {
  using Kind = JsonValue::Kind;
  if (depth > kMaxDepth) fail(str_cat("more than ", kMaxDepth, " levels of nesting"));
  if (++values_ > kMaxValues) fail("too many values");
  const char c = peek();
  switch (c) {
    case '{': {
      JsonValue value(place, Kind::kObject);
      expect('{');
      for (bool first = true; next_member(first);) {
        std::string key(view(read_string()));
        expect(':');
        JsonValue member = read_value(str_cat(place, ".", key), depth + 1);
        value.mutable_members().emplace_back(std::move(key), std::move(member));
      }
      return value;
    }
    case '[': {
      JsonValue value(place, Kind::kArray);
      expect('[');
      std::size_t i = 0;
      for (bool first = true; next_item(first);) {
        value.mutable_items().push_back(read_value(str_cat(place, "[", i++, "]"), depth + 1));
      }
      return value;
    }
    case '"': {
      JsonValue value(place, Kind::kString);
      value.set_string(view(read_string()));
      return value;
    }
    case 't':
    case 'f': {
      JsonValue value(place, Kind::kBool);
      read_word(c == 't' ? "true" : "false");
      value.set_bool(c == 't');
      return value;
    }
    case 'n': read_word("null"); return JsonValue(place, Kind::kNull);
    default: break;
  }
  const std::size_t begin = position_;
  bool integer = false;
  const std::string_view digits = read_number(integer);
  JsonValue value(place, Kind::kInteger);
  std::int64_t number = 0;
  const char* end = digits.data() + digits.size();
  if (integer && std::from_chars(digits.data(), end, number).ec == std::errc()) {
    value.set_integer(number);
    return value;
  }
  position_ = begin;
  value = JsonValue(place, Kind::kDouble);
  value.set_double(read_double());
  return value;
}

}  // namespace shoehorn::text
