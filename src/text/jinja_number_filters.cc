// Filters that give numbers.
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_filters.h"
#include "text/python_text.h"
#include "text/utf8.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

// The text without white space around it and '_' between digits; nothing if '_' is misplaced.
std::optional<std::string> digits_of(std::string_view text) {
  text = text::python_strip(text, nullptr, true, true);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() || text[i + 1] == '_' || out.empty() ||
               std::isalnum(static_cast<unsigned char>(text[i - 1])) == 0) {
      return std::nullopt;
    }
  }
  return out;
}

// int(text, base).
std::optional<Integer> parse_integer(std::string_view text, std::int64_t base) {
  auto digits = digits_of(text);
  if (!digits) return std::nullopt;
  std::string_view rest = *digits;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  const auto prefixed = [&](char letter) {
    return rest.size() > 1 && rest[0] == '0' && (rest[1] | 0x20) == letter;
  };
  for (const auto& [letter, of_letter] :
       {std::pair{'x', 16}, std::pair{'o', 8}, std::pair{'b', 2}}) {
    if ((base == of_letter || base == 0) && prefixed(letter)) {
      rest.remove_prefix(2);
      base = of_letter;
    }
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36) fail_runtime("ValueError: int() base must be >= 2 and <= 36, or 0");
  if (rest.empty()) return std::nullopt;
  Integer value = 0;
  for (const char c : rest) {
    const int digit = c >= '0' && c <= '9'                     ? c - '0'
                      : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10
                                                               : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, static_cast<Integer>(base), &value) ||
        __builtin_add_overflow(value, Integer{digit}, &value)) {
      fail(ErrorKind::kLimit, "an integer of more than 127 bits");
    }
  }
  return negative ? -value : value;
}

// float(text).
std::optional<double> parse_float(std::string_view text) {
  auto digits = digits_of(text);
  if (!digits) return std::nullopt;
  std::string_view rest = *digits;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.empty() || rest[0] == '-' || rest[0] == '+') return std::nullopt;
  double value = 0;
  const auto result = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (result.ptr != rest.data() + rest.size()) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) {
    value = rest.find("e-") != std::string_view::npos || rest.find("E-") != std::string_view::npos
                ? 0
                : HUGE_VAL;
  } else if (result.ec != std::errc()) {
    return std::nullopt;
  }
  return negative ? -value : value;
}

std::optional<Integer> truncated(double value) {
  if (!(std::abs(value) < 1e38)) return std::nullopt;
  return static_cast<Integer>(value);
}

Value to_int(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [otherwise, base] = bind<2>("int", arguments, {"default", "base"});
  if (value.is_undefined()) fail_undefined(value);
  const Value fallback = otherwise == nullptr ? Value::integer(0) : *otherwise;
  std::optional<Integer> result;
  if (value.is_string()) {
    renderer.budget().spend_bytes(value.text().size());
    result = parse_integer(value.text(), integer_or(base, 10));
    if (!result) {
      if (const auto number = parse_float(value.text())) result = truncated(*number);
    }
  } else if (value.is_integral()) {
    result = value.as_integer();
  } else if (value.is(Kind::kFloat)) {
    if (std::isinf(value.as_double())) {
      fail_runtime("OverflowError: cannot convert float infinity to integer");
    }
    result = truncated(value.as_double());
  }
  return result ? Value::integer(*result) : fallback;
}

Value to_float(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [otherwise] = bind<1>("float", arguments, {"default"});
  if (value.is_undefined()) fail_undefined(value);
  if (value.is_number()) return Value::number(value.as_double());
  if (value.is_string()) {
    renderer.budget().spend_bytes(value.text().size());
    if (const auto number = parse_float(value.text())) return Value::number(*number);
  }
  return otherwise == nullptr ? Value::number(0) : *otherwise;
}

Value absolute(Renderer& /*renderer*/, const Value& value, Arguments& arguments) {
  bind<0>("abs", arguments, {});
  if (value.is_undefined()) fail_undefined(value);
  if (value.is(Kind::kFloat)) return Value::number(std::abs(value.as_double()));
  if (!value.is_integral()) {
    fail_runtime(str_cat("TypeError: bad operand type for abs(): '", type_name(value), "'"));
  }
  return value.as_integer() < 0 ? negative(value) : Value::integer(value.as_integer());
}

// round(value, precision): the nearest decimal, ties to even, as the exact value of the double
// says.
double round_half_even(double value, std::int64_t precision) {
  if (!std::isfinite(value) || precision > 300) return value;
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    return std::nearbyint(value / unit) * unit;
  }
  std::array<char, 700> buffer{};
  const int size =
      std::snprintf(buffer.data(), buffer.size(), "%.*f", static_cast<int>(precision), value);
  double result = value;
  std::from_chars(buffer.data(), buffer.data() + size, result);
  return result;
}

Value round(Renderer& /*renderer*/, const Value& value, Arguments& arguments) {
  const auto [precision, method] = bind<2>("round", arguments, {"precision", "method"});
  const std::string how = method == nullptr ? "common" : require_text(*method, "method");
  if (how != "common" && how != "ceil" && how != "floor") {
    fail_runtime("FilterArgumentError: method must be common, ceil or floor");
  }
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_number()) {
    fail_runtime(str_cat("TypeError: type ", type_name(value), " doesn't define __round__ method"));
  }
  const std::int64_t digits = integer_or(precision, 0);
  if (how == "common") {
    if (value.is(Kind::kFloat)) return Value::number(round_half_even(value.as_double(), digits));
    if (digits >= 0 || digits < -30) {
      return Value::integer(digits >= 0 ? value.as_integer() : Integer{0});
    }
    Integer unit = 1;
    for (std::int64_t i = digits; i < 0; ++i) unit *= 10;
    const Integer rest = ((value.as_integer() % unit) + unit) % unit;
    const Integer below = value.as_integer() - rest;
    const bool up = rest * 2 > unit || (rest * 2 == unit && (below / unit) % 2 != 0);
    return Value::integer(up ? below + unit : below);
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = value.as_double() * scale;
  return Value::number((how == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

// float(): fails where the filter `float` gives its default.
double python_float(Renderer& renderer, const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (value.is_number()) return value.as_double();
  if (!value.is_string()) {
    fail_runtime(str_cat("TypeError: float() argument must be a string or a real number, not '",
                         type_name(value), "'"));
  }
  renderer.budget().spend_bytes(value.text().size());
  const auto number = parse_float(value.text());
  if (!number) fail_runtime("ValueError: could not convert string to float");
  return *number;
}

Value filesizeformat(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [binary] = bind<1>("filesizeformat", arguments, {"binary"});
  const double bytes = python_float(renderer, value);
  const bool is_binary = bool_or(binary, false);
  const double base = is_binary ? 1024 : 1000;
  if (bytes == 1) return renderer.text("1 Byte");
  if (bytes < base) return renderer.text(str_cat(static_cast<std::int64_t>(bytes), " Bytes"));
  constexpr std::array<std::string_view, 8> kDecimal = {"kB", "MB", "GB", "TB",
                                                        "PB", "EB", "ZB", "YB"};
  constexpr std::array<std::string_view, 8> kBinary = {"KiB", "MiB", "GiB", "TiB",
                                                       "PiB", "EiB", "ZiB", "YiB"};
  double unit = base * base;
  std::size_t i = 0;
  while (!(bytes < unit) && i + 1 < kDecimal.size()) {  // NaN has the last unit
    unit *= base;
    ++i;
  }
  std::array<char, 400> buffer{};
  const int size = std::snprintf(buffer.data(), buffer.size(), "%.1f ", base * bytes / unit);
  return renderer.text(str_cat(std::string_view(buffer.data(), static_cast<std::size_t>(size)),
                               is_binary ? kBinary[i] : kDecimal[i]));
}

Value count(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("length", arguments, {});
  return Value::integer(static_cast<Integer>(length(renderer.budget(), value)));
}

constexpr std::array<Builtin, 7> kFilters = {{{"int", to_int},
                                              {"float", to_float},
                                              {"abs", absolute},
                                              {"round", round},
                                              {"filesizeformat", filesizeformat},
                                              {"length", count},
                                              {"count", count}}};

}  // namespace

std::span<const Builtin> number_filters() {
  return kFilters;
}

}  // namespace shoehorn::jinja
