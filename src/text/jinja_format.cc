// '%s' % value and '{}'.format(value), Python's two ways to format.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_print.h"
#include "text/jinja_renderer.h"
#include "text/python_text.h"
#include "text/utf8.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

// Digits behind the point; more say nothing about a double and take long.
constexpr std::int64_t kMaxPrecision = 400;

/// [[fill]align][sign][#][0][width][grouping][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = '\0';
  char sign = '-';
  bool alternate = false;
  bool zero = false;
  std::int64_t width = 0;
  char grouping = '\0';
  std::int64_t precision = -1;
  char type = '\0';
};

std::int64_t read_number(std::string_view text, std::size_t& i) {
  std::int64_t value = 0;
  while (i < text.size() && text[i] >= '0' && text[i] <= '9') {
    value = std::min<std::int64_t>(value * 10 + (text[i++] - '0'), std::int64_t{1} << 40);
  }
  return value;
}

std::string pad(Budget& budget, std::string text, const Spec& spec, char default_align) {
  const auto size = static_cast<std::int64_t>(text::count_characters(text));
  const std::int64_t margin = std::max<std::int64_t>(spec.width - size, 0);
  if (margin == 0) return text;
  budget.check_text(text.size() + static_cast<std::size_t>(margin) * spec.fill.size());
  const char align = spec.align == '\0' ? default_align : spec.align;
  std::int64_t left = align == '>' ? margin : align == '^' ? margin / 2 : 0;
  std::string out;
  std::size_t sign = 0;
  if (align == '=') {
    sign = !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ') ? 1 : 0;
    left = margin;
    out = text.substr(0, sign);
  }
  for (std::int64_t i = 0; i < left; ++i) out += spec.fill;
  out += std::string_view(text).substr(sign);
  for (std::int64_t i = left; i < margin; ++i) out += spec.fill;
  return out;
}

std::string grouped(std::string digits, char separator, std::size_t every) {
  if (separator == '\0') return digits;
  for (std::size_t i = digits.size(); i > every;) {
    i -= every;
    digits.insert(i, 1, separator);
  }
  return digits;
}

std::string in_base(Integer value, unsigned base) {
  auto rest = static_cast<unsigned __int128>(value);
  std::string digits;
  do {
    digits.push_back("0123456789abcdef"[static_cast<std::size_t>(rest % base)]);
    rest /= base;
  } while (rest > 0);
  std::ranges::reverse(digits);
  return digits;
}

std::string with_sign(bool negative, char sign, std::string digits) {
  if (negative) return "-" + digits;
  if (sign == '+' || sign == ' ') return sign + digits;
  return digits;
}

std::string format_integer(Integer value, const Spec& spec) {
  const bool negative = value < 0;
  const Integer magnitude = negative ? -value : value;
  std::string digits;
  std::string prefix;
  switch (spec.type) {
    case 'x':
    case 'X':
      digits = grouped(in_base(magnitude, 16), spec.grouping, 4);
      if (spec.alternate) prefix = "0x";
      break;
    case 'o':
      digits = grouped(in_base(magnitude, 8), spec.grouping, 4);
      if (spec.alternate) prefix = "0o";
      break;
    case 'b':
      digits = grouped(in_base(magnitude, 2), spec.grouping, 4);
      if (spec.alternate) prefix = "0b";
      break;
    default: digits = grouped(text::python_repr(magnitude), spec.grouping, 3);
  }
  digits = prefix + digits;
  if (spec.type == 'X') {
    for (char& c : digits) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  }
  return with_sign(negative, spec.sign, digits);
}

std::string format_float(double value, const Spec& spec) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  double magnitude = std::abs(value);
  const char type = spec.type == '\0' ? 'g' : spec.type;
  const bool upper = type == 'F' || type == 'E' || type == 'G';
  std::string digits;
  if (!std::isfinite(value)) {
    digits = std::isnan(value) ? "nan" : "inf";
    if (upper) digits = std::isnan(value) ? "NAN" : "INF";
  } else if (spec.type == '\0' && spec.precision < 0) {
    digits = text::python_repr(magnitude);
  } else {
    if (type == '%') magnitude *= 100;
    const auto precision =
        static_cast<int>(spec.precision < 0 ? 6 : std::min(spec.precision, kMaxPrecision));
    const std::string c_format =
        str_cat('%', spec.alternate ? "#" : "", ".*", type == '%' ? 'f' : type);
    std::string buffer(static_cast<std::size_t>(precision) + 340, '\0');
    const int size =
        std::snprintf(buffer.data(), buffer.size(), c_format.c_str(), precision, magnitude);
    digits = buffer.substr(0, static_cast<std::size_t>(std::max(size, 0)));
    if (spec.type == '\0' && digits.find_first_of(".e") == std::string::npos) digits += ".0";
    if (type == '%') digits += '%';
  }
  if (spec.grouping != '\0') {
    const std::size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
    digits = grouped(digits.substr(0, whole), spec.grouping, 3) + digits.substr(whole);
  }
  return with_sign(negative, spec.sign, digits);
}

Spec read_spec(std::string_view text) {
  Spec spec;
  std::size_t i = 0;
  const auto is_align = [&](std::size_t at) {
    return at < text.size() && std::string_view("<>=^").find(text[at]) != std::string_view::npos;
  };
  if (!text.empty()) {
    const std::size_t first = text::sequence_length(text[0]);
    if (is_align(first)) {
      spec.fill = std::string(text.substr(0, first));
      spec.align = text[first];
      i = first + 1;
    } else if (is_align(0)) {
      spec.align = text[i++];
    }
  }
  const auto at = [&](char c) { return i < text.size() && text[i] == c; };
  if (at('+') || at('-') || at(' ')) spec.sign = text[i++];
  if (at('#')) {
    spec.alternate = true;
    ++i;
  }
  if (at('0')) {
    spec.zero = true;
    ++i;
  }
  spec.width = read_number(text, i);
  if (at(',') || at('_')) spec.grouping = text[i++];
  if (at('.')) {
    ++i;
    spec.precision = read_number(text, i);
  }
  if (i < text.size()) spec.type = text[i++];
  if (i != text.size()) fail_runtime("ValueError: Invalid format specifier");
  if (spec.zero && spec.align == '\0') {
    spec.fill = "0";
    spec.align = '=';
  }
  return spec;
}

// format(value, spec).
std::string format_value(Budget& budget, const Value& value, std::string_view text) {
  if (text.empty()) return print(budget, value);
  const Spec spec = read_spec(text);
  const auto unknown_code = [&] {
    fail_runtime(str_cat("ValueError: Unknown format code '", spec.type, "' for object of type '",
                         type_name(value), "'"));
  };
  if (value.is_string()) {
    if (spec.type != '\0' && spec.type != 's') unknown_code();
    std::string shown = value.text();
    if (spec.precision >= 0) {
      shown.resize(text::byte_of_character(shown, static_cast<std::size_t>(spec.precision)));
    }
    return pad(budget, std::move(shown), spec, '<');
  }
  if (value.is_number()) {
    constexpr std::string_view kFloatTypes = "eEfFgG%";
    const bool as_float =
        value.is(Kind::kFloat) ||
        (spec.type != '\0' && kFloatTypes.find(spec.type) != std::string_view::npos);
    if (value.is(Kind::kFloat) && spec.type != '\0' &&
        kFloatTypes.find(spec.type) == std::string_view::npos) {
      unknown_code();
    }
    if (!as_float && spec.type != '\0' &&
        std::string_view("dnxXobc").find(spec.type) == std::string_view::npos) {
      unknown_code();
    }
    if (spec.type == 'c') fail_runtime("the format code 'c' is not supported");
    return pad(
        budget,
        as_float ? format_float(value.as_double(), spec) : format_integer(value.as_integer(), spec),
        spec, '>');
  }
  fail_runtime(
      str_cat("TypeError: unsupported format string passed to ", type_name(value), ".__format__"));
}

class BraceFormatter {
 public:
  BraceFormatter(Renderer& renderer, const Arguments& arguments)
      : renderer_(renderer), arguments_(arguments) {}

  std::string run(std::string_view format, int depth) {
    if (depth > 2) fail_runtime("ValueError: Max string recursion exceeded");
    Budget& budget = renderer_.budget();
    std::string out;
    for (std::size_t i = 0; i < format.size();) {
      const char c = format[i];
      if (c != '{' && c != '}') {
        out.push_back(c);
        ++i;
        continue;
      }
      if (i + 1 < format.size() && format[i + 1] == c) {
        out.push_back(c);
        i += 2;
        continue;
      }
      if (c == '}') fail_runtime("ValueError: Single '}' encountered in format string");
      const std::size_t end = closing(format, i);
      out += field(format.substr(i + 1, end - i - 1), depth);
      budget.check_text(out.size());
      i = end + 1;
    }
    return out;
  }

 private:
  static std::size_t closing(std::string_view format, std::size_t open) {
    int level = 0;
    for (std::size_t i = open; i < format.size(); ++i) {
      if (format[i] == '{') ++level;
      if (format[i] == '}' && --level == 0) return i;
    }
    fail_runtime("ValueError: expected '}' before end of string");
  }

  // name[.attribute|[key]]*[!conversion][:spec]
  std::string field(std::string_view text, int depth) {
    std::size_t end = 0;
    while (end < text.size() && text[end] != '!' && text[end] != ':') {
      if (text[end] == '[') {
        while (end < text.size() && text[end] != ']') ++end;
        if (end == text.size()) fail_runtime("ValueError: expected '}' before end of string");
      }
      ++end;
    }
    const Value value = lookup(text.substr(0, end));
    Budget& budget = renderer_.budget();
    std::string_view rest = text.substr(end);
    std::string converted;
    bool is_converted = false;
    if (rest.starts_with('!')) {
      if (rest.size() < 2) fail_runtime("ValueError: unmatched '{' in format spec");
      if (rest[1] == 'r' || rest[1] == 'a') {
        append_repr(budget, converted, value);
      } else if (rest[1] == 's') {
        converted = print(budget, value);
      } else {
        fail_runtime("ValueError: Unknown conversion specifier");
      }
      is_converted = true;
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') {
        fail_runtime("ValueError: expected ':' after conversion specifier");
      }
    }
    std::string spec;
    if (rest.starts_with(':')) spec = run(rest.substr(1), depth + 1);
    if (is_converted) return format_value(budget, renderer_.text(converted), spec);
    return format_value(budget, value, spec);
  }

  Value lookup(std::string_view path) {
    std::size_t end = std::min(path.find_first_of(".["), path.size());
    Value value = first(path.substr(0, end));
    while (end < path.size()) {
      if (path[end] == '.') {
        const std::size_t next = std::min(path.find_first_of(".[", end + 1), path.size());
        value = renderer_.attribute(value, path.substr(end + 1, next - end - 1));
        end = next;
        continue;
      }
      const std::size_t close = path.find(']', end);
      if (path[end] != '[' || close == std::string_view::npos) {
        fail_runtime("ValueError: Only '.' or '[' may follow ']' in format field specifier");
      }
      const std::string_view key = path.substr(end + 1, close - end - 1);
      std::int64_t index = 0;
      const auto result = std::from_chars(key.data(), key.data() + key.size(), index);
      const bool is_number = result.ec == std::errc() && result.ptr == key.data() + key.size();
      value = renderer_.item(value,
                             is_number ? Value::integer(index) : renderer_.text(std::string(key)));
      end = close + 1;
    }
    return value;
  }

  Value first(std::string_view name) {
    std::size_t index = 0;
    if (name.empty()) {
      index = next_++;
    } else {
      const auto result = std::from_chars(name.data(), name.data() + name.size(), index);
      if (result.ec != std::errc() || result.ptr != name.data() + name.size()) {
        for (const auto& [key, value] : arguments_.named) {
          if (key == name) return value;
        }
        fail_runtime(str_cat("KeyError: '", name, "'"));
      }
    }
    if (index >= arguments_.positional.size()) {
      fail_runtime(str_cat("IndexError: Replacement index ", index,
                           " out of range for positional args tuple"));
    }
    return arguments_.positional[index];
  }

  Renderer& renderer_;
  const Arguments& arguments_;
  std::size_t next_ = 0;
};

class PercentFormatter {
 public:
  PercentFormatter(Renderer& renderer, const Value& value) : renderer_(renderer), value_(value) {}

  std::string run(std::string_view format) {
    Budget& budget = renderer_.budget();
    std::string out;
    for (std::size_t i = 0; i < format.size(); ++i) {
      if (format[i] != '%') {
        out.push_back(format[i]);
        continue;
      }
      ++i;
      conversion(format, i, out);
      budget.check_text(out.size());
    }
    // Whatever has items by Python's measure may be left over.
    const bool is_mapping = value_.is(Kind::kDict) || value_.is(Kind::kList) ||
                            value_.is(Kind::kRange) || value_.is(Kind::kUndefined);
    if (!used_mapping_ && !is_mapping && next_ < count()) {
      fail_runtime("TypeError: not all arguments converted during string formatting");
    }
    return out;
  }

 private:
  std::size_t count() const { return value_.is(Kind::kTuple) ? value_.items().size() : 1; }

  Value next() {
    if (next_ >= count()) {
      fail_runtime("TypeError: not enough arguments for format string");
    }
    ++next_;
    return value_.is(Kind::kTuple) ? value_.items()[next_ - 1] : value_;
  }

  std::int64_t number(std::string_view format, std::size_t& i) {
    if (i >= format.size() || format[i] != '*') return read_number(format, i);
    ++i;
    const Value value = next();
    if (!value.is_integral()) fail_runtime("TypeError: * wants int");
    return integer_or(&value, 0);
  }

  // From behind the '%' to its last character.
  void conversion(std::string_view format, std::size_t& i, std::string& out) {
    std::optional<Value> value;
    if (i < format.size() && format[i] == '(') {
      const std::size_t close = format.find(')', i);
      if (close == std::string_view::npos) fail_runtime("ValueError: incomplete format key");
      if (!value_.is(Kind::kDict)) fail_runtime("TypeError: format requires a mapping");
      const std::string_view key = format.substr(i + 1, close - i - 1);
      const Value* found = value_.dict().find(key);
      if (found == nullptr) fail_runtime(str_cat("KeyError: '", key, "'"));
      value = *found;
      used_mapping_ = true;
      i = close + 1;
    }
    Spec spec;
    for (; i < format.size(); ++i) {
      if (format[i] == '-') {
        spec.align = '<';
      } else if (format[i] == '+' || (format[i] == ' ' && spec.sign != '+')) {
        spec.sign = format[i];
      } else if (format[i] == '0') {
        spec.zero = true;
      } else if (format[i] == '#') {
        spec.alternate = true;
      } else if (format[i] != ' ') {
        break;
      }
    }
    spec.width = number(format, i);
    if (spec.width < 0) {
      spec.width = -spec.width;
      spec.align = '<';
    }
    if (i < format.size() && format[i] == '.') {
      ++i;
      spec.precision = std::max<std::int64_t>(number(format, i), 0);
    }
    while (i < format.size() && (format[i] == 'l' || format[i] == 'h' || format[i] == 'L')) ++i;
    if (i >= format.size()) fail_runtime("ValueError: incomplete format");
    const char type = format[i];
    if (type == '%') {
      out.push_back('%');
      return;
    }
    if (!value) value = next();
    append(out, *value, type, spec);
  }

  void append(std::string& out, const Value& value, char type, Spec spec) {
    Budget& budget = renderer_.budget();
    const bool left = spec.align == '<';
    std::string shown;
    switch (type) {
      case 's':
      case 'r':
      case 'a':
        if (type == 's') {
          shown = print(budget, value);
        } else {
          append_repr(budget, shown, value);
        }
        if (spec.precision >= 0) {
          shown.resize(text::byte_of_character(shown, static_cast<std::size_t>(spec.precision)));
        }
        out += pad(budget, std::move(shown), spec, '>');
        return;
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        if (!value.is_number()) {
          if (value.is_undefined()) fail_undefined(value);
          fail_runtime(str_cat("TypeError: %", type, " format: a real number is required, not ",
                               type_name(value)));
        }
        spec.type = type == 'i' || type == 'u' ? 'd' : type;
        shown = format_integer(truncated(value), spec);
        break;
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (!value.is_number()) {
          if (value.is_undefined()) fail_undefined(value);
          fail_runtime(str_cat("TypeError: must be real number, not ", type_name(value)));
        }
        spec.type = type;
        shown = format_float(value.as_double(), spec);
        break;
      case 'c': {
        if (value.is_integral()) {
          const Integer c = value.as_integer();
          if (c < 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
            fail_runtime("OverflowError: %c arg not in range(0x110000)");
          }
          text::append_utf8(shown, static_cast<char32_t>(c));
        } else {
          shown = require_text(value, "%c");
          if (text::count_characters(shown) != 1) {
            fail_runtime("TypeError: %c requires int or char");
          }
        }
        out += pad(budget, std::move(shown), spec, '>');
        return;
      }
      default: fail_runtime(str_cat("ValueError: unsupported format character '", type, "'"));
    }
    if (spec.zero && !left) {
      spec.fill = "0";
      spec.align = '=';
    }
    out += pad(budget, std::move(shown), spec, '>');
  }

  static Integer truncated(const Value& value) {
    if (!value.is(Kind::kFloat)) return value.as_integer();
    const double number = value.as_double();
    if (!(std::abs(number) < 1e38)) fail_runtime("OverflowError: cannot convert float to integer");
    return static_cast<Integer>(number);
  }

  Renderer& renderer_;
  const Value& value_;
  std::size_t next_ = 0;
  bool used_mapping_ = false;
};

}  // namespace

std::string format_percent(Renderer& renderer, std::string_view format, const Value& value) {
  return PercentFormatter(renderer, value).run(format);
}

std::string format_braces(Renderer& renderer, std::string_view format, const Arguments& arguments) {
  return BraceFormatter(renderer, arguments).run(format, 1);
}

}  // namespace shoehorn::jinja
