#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "base/str_cat.h"
#include "text/python_text.h"
#include "text/utf8.h"

namespace shoehorn::jinja {
namespace {

using Type = Token::Type;

constexpr std::size_t kNone = std::string_view::npos;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// "\r\n" and "\r" become "\n"; one newline at the end is dropped.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
    } else if (source.substr(i, 2) != "\r\n") {
      out.push_back('\n');
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) data();
    add(Type::kEnd, {});
    return std::move(tokens_);
  }

 private:
  // Up to the next delimiter, and what the delimiter opens.
  void data() {
    const std::size_t begin = position_;
    const std::size_t open = find_open(begin);
    const std::string_view text = source_.substr(begin, open - begin);
    if (open == kNone) {
      add_data(text);
      move_to(source_.size());
      return;
    }
    const char kind = source_[open + 1];
    const char sign = open + 2 < source_.size() ? source_[open + 2] : ' ';
    if (kind == '%') {
      if (const auto raw_begin = match_tag(open, "raw", /*opening=*/true)) {
        add_data(stripped(text, sign, true));
        raw(open, *raw_begin);
        return;
      }
    }
    const std::string_view kept = stripped(text, sign, kind != '{');
    add_data(kept);
    move_to(open);
    const Location at = location_;
    const bool has_sign = sign == '-' || sign == '+';
    move_to(open + (has_sign ? 3 : 2));
    line_starting_ = false;
    if (kind == '#') {
      comment(at);
      return;
    }
    tokens_.push_back(
        {.type = kind == '{' ? Type::kVariableBegin : Type::kBlockBegin, .at = at, .text = {}});
    expression(kind == '{');
  }

  std::size_t find_open(std::size_t from) const {
    for (std::size_t i = source_.find('{', from); i != kNone && i + 1 < source_.size();
         i = source_.find('{', i + 1)) {
      const char next = source_[i + 1];
      if (next == '{' || next == '%' || next == '#') return i;
    }
    return kNone;
  }

  // What the sign of a tag and lstrip_blocks leave of the text before it.
  std::string_view stripped(std::string_view text, char sign, bool lstrip) const {
    if (sign == '-') return text::python_strip(text, nullptr, false, true);
    if (sign == '+' || !lstrip) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t line = newline == kNone ? 0 : newline + 1;
    if (line == 0 && !line_starting_) return text;
    if (text::python_strip(text.substr(line), nullptr, true, false).empty()) {
      return text.substr(0, line);
    }
    return text;
  }

  // "{% raw %}" or "{% endraw %}" at `open`: the position behind its "%}", which takes white space
  // after '-' and, for endraw, one newline.
  std::optional<std::size_t> match_tag(std::size_t open, std::string_view name,
                                       bool opening) const {
    std::size_t i = open + 2;
    if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
    i = skip_space(i);
    if (source_.substr(i, name.size()) != name) return std::nullopt;
    i = skip_space(i + name.size());
    const std::string_view rest = source_.substr(i);
    if (rest.starts_with("-%}")) return skip_space(i + 3);
    if (!opening && rest.starts_with("+%}")) return i + 3;
    if (!rest.starts_with("%}")) return std::nullopt;
    i += 2;
    if (!opening && i < source_.size() && source_[i] == '\n') ++i;
    return i;
  }

  void raw(std::size_t open, std::size_t begin) {
    move_to(open);
    const Location at = location_;
    move_to(begin);
    line_starting_ = source_[begin - 1] == '\n';
    for (std::size_t i = source_.find("{%", begin); i != kNone; i = source_.find("{%", i + 1)) {
      const auto end = match_tag(i, "endraw", /*opening=*/false);
      if (!end) continue;
      const char sign = source_[i + 2];
      add_data(stripped(source_.substr(begin, i - begin), sign, true));
      move_to(*end);
      line_starting_ = source_[*end - 1] == '\n';
      return;
    }
    fail_syntax(at, "Missing end of raw directive");
  }

  // After the opening delimiter.
  void comment(Location at) {
    const std::size_t end = source_.find("#}", position_);
    if (end == kNone) fail_syntax(at, "Missing end of comment tag");
    // "{#-#}" has one sign, which the opening took.
    const char sign = end > position_ ? source_[end - 1] : ' ';
    close(end + 2, sign, /*trims=*/true);
  }

  // Steps behind a closing delimiter.
  void close(std::size_t end, char sign, bool trims) {
    if (sign == '-') {
      end = skip_space(end);
    } else if (trims && sign != '+' && end < source_.size() && source_[end] == '\n') {
      ++end;
    }
    move_to(end);
    line_starting_ = source_[end - 1] == '\n';
  }

  // Tokens up to the closing delimiter.
  void expression(bool variable) {
    const std::string_view closing = variable ? "}}" : "%}";
    std::vector<char> brackets;
    while (true) {
      move_to(skip_space(position_));
      if (position_ == source_.size()) {
        fail_syntax(location_,
                    str_cat("unexpected end of template, expected '",
                            variable ? "end of print statement" : "end of statement block", "'."));
      }
      const std::string_view rest = source_.substr(position_);
      const bool signed_close =
          (rest[0] == '-' || (rest[0] == '+' && !variable)) && rest.substr(1, 2) == closing;
      if (brackets.empty() && (signed_close || rest.starts_with(closing))) {
        add(variable ? Type::kVariableEnd : Type::kBlockEnd, {});
        close(position_ + (signed_close ? 3 : 2), signed_close ? rest[0] : ' ', !variable);
        return;
      }
      token(rest, brackets);
    }
  }

  void token(std::string_view rest, std::vector<char>& brackets) {
    const char c = rest[0];
    std::size_t size = 0;
    if (is_digit(c)) {
      number(rest);
    } else if (c == '\'' || c == '"') {
      string(rest);
    } else if (text::is_word(text::character_at(source_, position_, size))) {
      name(rest);
    } else {
      symbol(rest, brackets);
    }
  }

  void name(std::string_view rest) {
    std::size_t end = 0;
    std::size_t size = 0;
    while (end < rest.size()) {
      const char32_t c = text::character_at(rest, end, size);
      if (!text::is_word(c)) break;
      end += size;
    }
    add(Type::kName, std::string(rest.substr(0, end)));
    move_to(position_ + end);
  }

  void string(std::string_view rest) {
    const char quote = rest[0];
    std::size_t end = 1;
    while (end < rest.size() && rest[end] != quote) end += rest[end] == '\\' ? 2 : 1;
    if (end >= rest.size()) fail_syntax(location_, str_cat("a string without end: ", quote));
    add(Type::kString, unescape(rest.substr(1, end - 1)));
    move_to(position_ + end + 1);
  }

  // Digits with '_' between them; where they end.
  template <typename IsDigit>
  static std::size_t digits(std::string_view rest, std::size_t i, const IsDigit& wanted) {
    while (i < rest.size()) {
      if (wanted(rest[i])) {
        ++i;
      } else if (rest[i] == '_' && i + 1 < rest.size() && wanted(rest[i + 1])) {
        i += 2;
      } else {
        break;
      }
    }
    return i;
  }

  void number(std::string_view rest) {
    const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';
    if (!after_dot && floating(rest)) return;
    int base = 10;
    std::size_t begin = 0;
    if (rest.size() > 2 && rest[0] == '0') {
      const char letter = static_cast<char>(rest[1] | 0x20);
      base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
      if (base != 10) begin = 2;
    }
    const auto wanted = [base](char c) { return digit_value(c) < base; };
    std::size_t end = digits(rest, begin, wanted);
    if (base != 10 && end == begin) {
      base = 10;
      begin = 0;
      end = 1;
    }
    // "01" is a zero and a one, which no grammar takes.
    if (base == 10 && rest[0] == '0') end = digits(rest, 0, [](char c) { return c == '0'; });
    Integer value = 0;
    for (const char c : rest.substr(begin, end - begin)) {
      if (c == '_') continue;
      if (__builtin_mul_overflow(value, Integer{base}, &value) ||
          __builtin_add_overflow(value, Integer{digit_value(c)}, &value)) {
        fail_syntax(location_, "an integer of more than 127 bits");
      }
    }
    add(Type::kInteger, std::string(rest.substr(0, end)));
    tokens_.back().integer = value;
    move_to(position_ + end);
  }

  static int digit_value(char c) {
    if (is_digit(c)) return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
  }

  bool floating(std::string_view rest) {
    const std::size_t whole = digits(rest, 0, is_digit);
    std::size_t end = whole;
    if (end + 1 < rest.size() && rest[end] == '.' && is_digit(rest[end + 1])) {
      end = digits(rest, end + 1, is_digit);
    }
    if (end < rest.size() && (rest[end] == 'e' || rest[end] == 'E')) {
      std::size_t exponent = end + 1;
      if (exponent < rest.size() && (rest[exponent] == '+' || rest[exponent] == '-')) ++exponent;
      if (exponent < rest.size() && is_digit(rest[exponent])) {
        end = digits(rest, exponent, is_digit);
      }
    }
    if (end == whole) return false;
    std::string plain;
    for (const char c : rest.substr(0, end)) {
      if (c != '_') plain.push_back(c);
    }
    double value = 0;
    const auto result = std::from_chars(plain.data(), plain.data() + plain.size(), value);
    if (result.ec == std::errc::result_out_of_range) {
      const std::size_t e = plain.find_first_of("eE");
      value = e != kNone && plain[e + 1] == '-' ? 0 : HUGE_VAL;
    }
    add(Type::kFloat, std::string(rest.substr(0, end)));
    tokens_.back().number = value;
    move_to(position_ + end);
    return true;
  }

  void symbol(std::string_view rest, std::vector<char>& brackets) {
    constexpr std::array<std::string_view, 27> kSymbols = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]",
        "(",  ")",  "{",  "}",  ">",  "<",  "=", ".", ":", "|", ",", ";", "!"};
    const auto found = std::ranges::find_if(
        kSymbols, [&](std::string_view symbol) { return rest.starts_with(symbol); });
    if (found == kSymbols.end() || *found == "!") {
      std::size_t size = 0;
      text::character_at(source_, position_, size);
      fail_syntax(location_, str_cat("unexpected char '", rest.substr(0, size), "'"));
    }
    constexpr std::string_view kOpening = "([{";
    constexpr std::string_view kClosing = ")]}";
    const char c = (*found)[0];
    if (const std::size_t i = kOpening.find(c); i != kNone) {
      brackets.push_back(kClosing[i]);
    } else if (kClosing.find(c) != kNone) {
      if (brackets.empty()) fail_syntax(location_, str_cat("unexpected '", c, "'"));
      if (brackets.back() != c) {
        fail_syntax(location_, str_cat("unexpected '", c, "', expected '", brackets.back(), "'"));
      }
      brackets.pop_back();
    }
    add(Type::kOperator, std::string(*found));
    move_to(position_ + found->size());
  }

  // The escapes of Python's string literals.
  std::string unescape(std::string_view raw) const {
    std::string out;
    for (std::size_t i = 0; i < raw.size();) {
      if (raw[i] != '\\') {
        out.push_back(raw[i++]);
        continue;
      }
      ++i;
      constexpr std::string_view kFrom = "\\'\"abfnrtv";
      constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
      const char c = raw[i];
      if (const std::size_t simple = kFrom.find(c); simple != kNone) {
        out.push_back(kTo[simple]);
        ++i;
      } else if (c == '\n') {
        ++i;
      } else if (c >= '0' && c <= '7') {
        char32_t value = 0;
        for (int n = 0; n < 3 && i < raw.size() && raw[i] >= '0' && raw[i] <= '7'; ++n) {
          value = value * 8 + static_cast<char32_t>(raw[i++] - '0');
        }
        text::append_utf8(out, value);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const std::size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        append_code_point(out, raw.substr(i + 1, count), count);
        i += count + 1;
      } else if (c == 'N') {
        fail_syntax(location_, "characters by name (\\N{...}) are not supported");
      } else {
        out.push_back('\\');
        if (static_cast<unsigned char>(c) < 0x80) {
          out.push_back(c);
          ++i;
        } else {
          append_quirk(out, raw, i);
        }
      }
    }
    return out;
  }

  void append_code_point(std::string& out, std::string_view digits, std::size_t count) const {
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() < count || error != std::errc() || end != digits.data() + count) {
      fail_syntax(location_, "a broken escape in a string");
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      fail_syntax(location_, "an escape in a string that is no character");
    }
    text::append_utf8(out, value);
  }

  // jinja2 writes other characters as escapes before it reads escapes, so a backslash in front of
  // one hides the backslash of that escape.
  static void append_quirk(std::string& out, std::string_view raw, std::size_t& i) {
    std::size_t size = 0;
    const char32_t c = text::character_at(raw, i, size);
    i += size;
    const int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
    out.push_back(c < 0x100 ? 'x' : c < 0x10000 ? 'u' : 'U');
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
      out.push_back("0123456789abcdef"[(c >> shift) & 0xF]);
    }
  }

  std::size_t skip_space(std::size_t i) const {
    std::size_t size = 0;
    while (i < source_.size() && text::is_python_space(text::character_at(source_, i, size))) {
      i += size;
    }
    return i;
  }

  void move_to(std::size_t position) {
    for (; position_ < position; ++position_) {
      if (source_[position_] == '\n') {
        ++location_.line;
        location_.column = 1;
      } else if (!text::is_continuation(source_[position_])) {
        ++location_.column;
      }
    }
  }

  void add(Type type, std::string text) {
    tokens_.push_back({.type = type, .at = location_, .text = std::move(text)});
  }
  void add_data(std::string_view text) {
    if (!text.empty()) add(Type::kData, std::string(text));
  }

  std::string_view source_;
  std::size_t position_ = 0;
  Location location_;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

void fail_syntax(Location at, std::string message) {
  throw SyntaxFailure{.at = at, .message = std::move(message)};
}

std::vector<Token> tokenize(std::string_view source) {
  const std::string text = normalize_newlines(source);
  return Lexer(text).run();
}

std::string describe(const Token& token) {
  switch (token.type) {
    case Type::kData: return "template data / text";
    case Type::kVariableBegin: return "begin of print statement";
    case Type::kVariableEnd: return "end of print statement";
    case Type::kBlockBegin: return "begin of statement block";
    case Type::kBlockEnd: return "end of statement block";
    case Type::kEnd: return "end of template";
    default: return token.text;
  }
}

}  // namespace shoehorn::jinja
