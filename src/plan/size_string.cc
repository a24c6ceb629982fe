#include "plan/size_string.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

struct Unit {
  std::string_view suffix;  // upper case
  double bytes;
  bool decimal;  // a lower-case final b then means bits
};

// In the order accelerate tests them; the two last ones are ours.
constexpr std::array<Unit, 8> kUnits = {{
    {"GIB", 0x1p30, false},
    {"MIB", 0x1p20, false},
    {"KIB", 0x1p10, false},
    {"GB", 1e9, true},
    {"MB", 1e6, true},
    {"KB", 1e3, true},
    {"TIB", 0x1p40, false},
    {"TB", 1e12, true},
}};
constexpr std::size_t kReferenceUnits = 6;

char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// What Python's str.strip() takes away, as far as it is ASCII.
bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f');
}

std::string_view strip(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool ends_with_ignoring_case(std::string_view text, std::string_view upper_suffix) {
  if (text.size() < upper_suffix.size()) return false;
  text.remove_prefix(text.size() - upper_suffix.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (upper(text[i]) != upper_suffix[i]) return false;
  }
  return true;
}

bool equals_ignoring_case(std::string_view text, std::string_view upper_text) {
  return text.size() == upper_text.size() && ends_with_ignoring_case(text, upper_text);
}

// Digits with single underscores between them, moved from the front of `text` to `out`.
bool take_digits(std::string_view& text, std::string& out) {
  bool any = false;
  while (!text.empty()) {
    if (is_digit(text.front())) {
      out += text.front();
      any = true;
      text.remove_prefix(1);
    } else if (any && text.size() > 1 && text[0] == '_' && is_digit(text[1])) {
      text.remove_prefix(1);
    } else {
      break;
    }
  }
  return any;
}

// from_chars reports overflow and underflow alike; this tells them apart by the power of ten of the
// first digit that is not zero.
double out_of_range_value(std::string_view cleaned) {
  const std::size_t e = cleaned.find('e');
  const std::string_view mantissa = cleaned.substr(0, e);
  // An exponent too long for an int is far beyond any mantissa.
  int exponent = 0;
  if (e != std::string_view::npos) {
    std::string_view digits = cleaned.substr(e + 1);
    const bool negative = digits.front() == '-';
    if (std::from_chars(digits.data(), digits.data() + digits.size(), exponent).ec != std::errc()) {
      return negative ? 0.0 : std::numeric_limits<double>::infinity();
    }
  }
  const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
  const std::size_t first = mantissa.find_first_of("123456789");
  const double magnitude = static_cast<double>(point) - static_cast<double>(first) + exponent;
  return magnitude > 0 ? std::numeric_limits<double>::infinity() : 0.0;
}

// Python's float(text) for ASCII text.
std::optional<double> python_float(std::string_view text) {
  text = strip(text);
  double sign = 1;
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
    sign = text.front() == '-' ? -1 : 1;
    text.remove_prefix(1);
  }
  if (equals_ignoring_case(text, "INF") || equals_ignoring_case(text, "INFINITY")) {
    return sign * std::numeric_limits<double>::infinity();
  }
  if (equals_ignoring_case(text, "NAN")) return std::numeric_limits<double>::quiet_NaN();

  std::string cleaned;
  bool any = take_digits(text, cleaned);
  if (!text.empty() && text.front() == '.') {
    cleaned += '.';
    text.remove_prefix(1);
    any = take_digits(text, cleaned) || any;
  }
  if (!any) return std::nullopt;
  if (!text.empty() && upper(text.front()) == 'E') {
    cleaned += 'e';
    text.remove_prefix(1);
    if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
      if (text.front() == '-') cleaned += '-';  // from_chars knows no plus
      text.remove_prefix(1);
    }
    if (!take_digits(text, cleaned)) return std::nullopt;
  }
  if (!text.empty()) return std::nullopt;

  double value = 0;
  const auto result = std::from_chars(cleaned.data(), cleaned.data() + cleaned.size(), value);
  if (result.ec == std::errc::result_out_of_range) {
    value = out_of_range_value(cleaned);
  } else if (result.ec != std::errc()) {
    return std::nullopt;
  }
  return sign * value;
}

// Nothing where no unit or no number is found; may be negative or not finite.
std::optional<double> size_with_unit(std::string_view text, std::size_t unit_count) {
  for (const Unit& unit : std::span(kUnits).first(unit_count)) {
    if (!ends_with_ignoring_case(text, unit.suffix)) continue;
    const auto number = python_float(text.substr(0, text.size() - unit.suffix.size()));
    if (!number) return std::nullopt;
    const double bytes = std::trunc(*number * unit.bytes);
    return unit.decimal && text.back() == 'b' ? std::floor(bytes / 8) : bytes;
  }
  return std::nullopt;
}

std::string quoted(std::string_view text) {
  return str_cat('"', text.substr(0, 60), text.size() > 60 ? "...\"" : "\"");
}

}  // namespace

double parse_size_reference(std::string_view text) {
  const auto bytes = size_with_unit(text, kReferenceUnits);
  if (!bytes || !std::isfinite(*bytes) || *bytes < 0) {
    throw ArgumentError(str_cat("size ", quoted(text),
                                ": expected a number followed by GiB, MiB, KiB, GB, MB or KB, such "
                                "as \"10GiB\""));
  }
  return *bytes + 0.0;  // no negative zero
}

std::size_t parse_size(std::string_view text) {
  const std::string_view stripped = strip(text);
  auto bytes = size_with_unit(stripped, kUnits.size());
  if (!bytes && !stripped.empty()) {
    const bool has_b = stripped.back() == 'B';
    bytes = python_float(stripped.substr(0, stripped.size() - (has_b ? 1 : 0)));
    if (bytes) bytes = std::trunc(*bytes);
  }
  if (!bytes || !std::isfinite(*bytes)) {
    throw ArgumentError(str_cat("size ", quoted(text),
                                ": expected a number of bytes, or a number followed by TiB, GiB, "
                                "MiB, KiB, TB, GB, MB, KB or B, such as \"10GiB\""));
  }
  if (*bytes < 0) throw ArgumentError(str_cat("size ", quoted(text), ": must not be negative"));
  if (*bytes >= 0x1p63) throw ArgumentError(str_cat("size ", quoted(text), ": too large"));
  return static_cast<std::size_t>(*bytes);
}

}  // namespace shoehorn
