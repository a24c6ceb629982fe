// Methods of strings. All count in characters and give new values.
#include <algorithm>
#include <array>
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
constexpr std::size_t kNone = std::string_view::npos;

// Pays for a walk over the text.
const std::string& walked(Renderer& renderer, const Value& self) {
  renderer.budget().spend_characters(self.text().size());
  return self.text();
}

Value to_text(Renderer& renderer, std::string_view text) {
  renderer.budget().spend_bytes(text.size());
  return renderer.text(std::string(text));
}

Value to_list(Renderer& renderer, const std::vector<std::string_view>& parts) {
  Budget& budget = renderer.budget();
  budget.check_count(parts.size(), sizeof(Value) + sizeof(Text));
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.push_back(to_text(renderer, part));
  return make_list(budget, std::move(items));
}

template <std::string (*convert)(std::string_view)>
Value change_case(Renderer& renderer, const Value& self, Arguments& arguments) {
  bind<0>("str method", arguments, {});
  return renderer.text(convert(walked(renderer, self)));
}

template <bool left, bool right>
Value strip(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [characters] = bind<1>("strip", arguments, {"chars"});
  const std::string& text = walked(renderer, self);
  if (characters == nullptr || characters->is_none()) {
    return to_text(renderer, text::python_strip(text, nullptr, left, right));
  }
  const std::string_view set = require_text(*characters, "strip arg");
  renderer.budget().spend(set.size());
  return to_text(renderer, text::python_strip(text, &set, left, right));
}

// Up to `limit` cuts at runs of white space, from the left or the right.
std::vector<std::string_view> split_at_space(std::string_view text, std::int64_t limit,
                                             bool from_right) {
  std::vector<std::string_view> parts;
  while (true) {
    text = text::python_strip(text, nullptr, !from_right, from_right);
    if (text.empty()) break;
    if (limit >= 0 && static_cast<std::int64_t>(parts.size()) == limit) {
      parts.push_back(text);
      break;
    }
    std::size_t size = 0;
    if (from_right) {
      std::size_t begin = text.size();
      while (begin > 0) {
        const std::size_t at = text::previous_character(text, begin);
        if (text::is_python_space(text::character_at(text, at, size))) break;
        begin = at;
      }
      parts.push_back(text.substr(begin));
      text = text.substr(0, begin);
    } else {
      std::size_t end = 0;
      while (end < text.size() && !text::is_python_space(text::character_at(text, end, size))) {
        end += size;
      }
      parts.push_back(text.substr(0, end));
      text.remove_prefix(end);
    }
  }
  if (from_right) std::ranges::reverse(parts);
  return parts;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator,
                                       std::int64_t limit) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    const std::size_t found = text::find_bytes(text, separator, begin);
    if (found == kNone) break;
    parts.push_back(text.substr(begin, found - begin));
    begin = found + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

// All places from the right, without overlaps.
std::vector<std::string_view> split_at_from_right(std::string_view text, std::string_view separator,
                                                  std::int64_t limit) {
  std::string mirrored(text.rbegin(), text.rend());
  const std::string mirrored_separator(separator.rbegin(), separator.rend());
  std::vector<std::string_view> parts;
  for (const std::string_view part : split_at(mirrored, mirrored_separator, limit)) {
    const auto from_end = static_cast<std::size_t>(part.data() - mirrored.data());
    parts.push_back(text.substr(text.size() - from_end - part.size(), part.size()));
  }
  std::ranges::reverse(parts);
  return parts;
}

template <bool from_right>
Value split(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [separator, maxsplit] = bind<2>("split", arguments, {"sep", "maxsplit"});
  const std::string& text = walked(renderer, self);
  const std::int64_t limit = integer_or(maxsplit, -1);
  if (separator == nullptr || separator->is_none()) {
    return to_list(renderer, split_at_space(text, limit, from_right));
  }
  const std::string& by = require_text(*separator, "separator");
  if (by.empty()) fail_runtime("ValueError: empty separator");
  return to_list(renderer,
                 from_right ? split_at_from_right(text, by, limit) : split_at(text, by, limit));
}

Value splitlines(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [keepends] = bind<1>("splitlines", arguments, {"keepends"});
  const std::string& text = walked(renderer, self);
  std::vector<std::string_view> lines = text::python_splitlines(text);
  if (bool_or(keepends, false)) {
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const char* end = i + 1 < lines.size() ? lines[i + 1].data() : text.data() + text.size();
      lines[i] = {lines[i].data(), static_cast<std::size_t>(end - lines[i].data())};
    }
  }
  return to_list(renderer, lines);
}

template <bool from_right>
Value partition(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [separator] = bind<1>("partition", arguments, {"sep"}, 1);
  const std::string_view text = walked(renderer, self);
  const std::string& by = require_text(*separator, "separator");
  if (by.empty()) fail_runtime("ValueError: empty separator");
  const std::size_t at = from_right ? text::rfind_bytes(text, by) : text::find_bytes(text, by);
  std::array<std::string_view, 3> parts;
  if (at == kNone) {
    parts[from_right ? 2 : 0] = text;
  } else {
    parts = {text.substr(0, at), text.substr(at, by.size()), text.substr(at + by.size())};
  }
  std::vector<Value> items;
  for (const std::string_view part : parts) items.push_back(to_text(renderer, part));
  return make_tuple(renderer.budget(), std::move(items));
}

// text[start:end] in characters.
struct Part {
  std::string_view text;
  std::size_t first = 0;  // number of the first character
  bool valid = true;      // start lies within the text
};

Part part_of(const std::string& text, const Value* start, const Value* end) {
  if (start == nullptr && end == nullptr) return {.text = text};
  const auto size = static_cast<std::int64_t>(text::count_characters(text));
  const auto bound = [size](const Value* value, std::int64_t otherwise) {
    const std::int64_t i = integer_or(value, otherwise);
    return i < 0 ? std::max<std::int64_t>(i + size, 0) : i;
  };
  const std::int64_t first = bound(start, 0);
  const std::int64_t last = std::min(bound(end, size), size);
  if (first > last) return {.text = {}, .first = 0, .valid = false};
  const std::size_t begin = text::byte_of_character(text, static_cast<std::size_t>(first));
  const std::string_view rest = std::string_view(text).substr(begin);
  return {
      .text = rest.substr(0, text::byte_of_character(rest, static_cast<std::size_t>(last - first))),
      .first = static_cast<std::size_t>(first)};
}

template <bool at_start>
Value has_affix(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [affix, start, end] =
      bind<3>(at_start ? "startswith" : "endswith", arguments, {"prefix", "start", "end"}, 1);
  const Part part = part_of(self.text(), start, end);
  if (start != nullptr) walked(renderer, self);
  const auto matches = [&](const Value& value) {
    const std::string& text = require_text(value, "affix");
    renderer.budget().spend_bytes(text.size());
    return part.valid && (at_start ? part.text.starts_with(text) : part.text.ends_with(text));
  };
  if (!affix->is(Kind::kTuple)) return Value::boolean(matches(*affix));
  return Value::boolean(std::ranges::any_of(affix->items(), matches));
}

template <bool from_right, bool must_be_there>
Value find(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [wanted, start, end] = bind<3>("find", arguments, {"sub", "start", "end"}, 1);
  walked(renderer, self);
  const Part part = part_of(self.text(), start, end);
  const std::string& text = require_text(*wanted, "sub");
  const std::size_t at = !part.valid  ? kNone
                         : from_right ? text::rfind_bytes(part.text, text)
                                      : text::find_bytes(part.text, text);
  if (at == kNone) {
    if (must_be_there) fail_runtime("ValueError: substring not found");
    return Value::integer(-1);
  }
  return Value::integer(
      static_cast<Integer>(part.first + text::count_characters(part.text.substr(0, at))));
}

Value count(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [wanted, start, end] = bind<3>("count", arguments, {"sub", "start", "end"}, 1);
  walked(renderer, self);
  const Part part = part_of(self.text(), start, end);
  const std::string& text = require_text(*wanted, "sub");
  if (!part.valid) return Value::integer(0);
  if (text.empty()) {
    return Value::integer(static_cast<Integer>(text::count_characters(part.text) + 1));
  }
  return Value::integer(static_cast<Integer>(split_at(part.text, text, -1).size() - 1));
}

Value replace(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [from, to, limit] = bind<3>("replace", arguments, {"old", "new", "count"}, 2);
  walked(renderer, self);
  Arguments filter_arguments;
  filter_arguments.positional = {*from, *to};
  require_text(*from, "old");
  require_text(*to, "new");
  filter_arguments.positional.push_back(Value::integer(integer_or(limit, -1)));
  return renderer.filter("replace", self, std::move(filter_arguments));
}

Value join(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [values] = bind<1>("join", arguments, {"iterable"}, 1);
  Budget& budget = renderer.budget();
  if (values->is_undefined()) return renderer.text("");
  std::string out;
  std::size_t i = 0;
  for (const Value& item : iterate(budget, *values)) {
    if (!item.is_string()) {
      fail_runtime(str_cat("TypeError: sequence item ", i, ": expected str instance, ",
                           type_name(item), " found"));
    }
    budget.check_size(out.size() + self.text().size() + item.text().size());
    budget.spend_bytes(self.text().size() + item.text().size());
    if (i++ > 0) out += self.text();
    out += item.text();
  }
  return renderer.text(std::move(out));
}

Value format(Renderer& renderer, const Value& self, Arguments& arguments) {
  return renderer.text(format_braces(renderer, self.text(), arguments));
}

Value zfill(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [width] = bind<1>("zfill", arguments, {"width"}, 1);
  const std::string& text = walked(renderer, self);
  const auto size = static_cast<std::int64_t>(text::count_characters(text));
  const std::int64_t fill = std::max<std::int64_t>(integer_or(width, 0) - size, 0);
  renderer.budget().check_text(text.size() + static_cast<std::size_t>(fill));
  const std::size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  return renderer.text(text.substr(0, sign) + std::string(static_cast<std::size_t>(fill), '0') +
                       text.substr(sign));
}

enum class Side { kLeft, kRight, kBoth };

template <Side side>
Value justify(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [width, fill] = bind<2>("justify", arguments, {"width", "fillchar"}, 1);
  const std::string& text = walked(renderer, self);
  const std::string pad = fill == nullptr ? " " : require_text(*fill, "the fill character");
  if (text::count_characters(pad) != 1) {
    fail_runtime("TypeError: The fill character must be exactly one character long");
  }
  const auto size = static_cast<std::int64_t>(text::count_characters(text));
  const std::int64_t wanted = integer_or(width, 0);
  const std::int64_t margin = std::max<std::int64_t>(wanted - size, 0);
  const std::int64_t left = side == Side::kRight  ? margin
                            : side == Side::kLeft ? 0
                                                  : margin / 2 + (margin & wanted & 1);
  constexpr std::int64_t kMany = std::int64_t{1} << 40;
  renderer.budget().check_text(text.size() +
                               static_cast<std::size_t>(std::min(margin, kMany)) * pad.size());
  std::string out;
  for (std::int64_t i = 0; i < left; ++i) out += pad;
  out += text;
  for (std::int64_t i = left; i < margin; ++i) out += pad;
  return renderer.text(std::move(out));
}

template <bool (*holds)(char32_t)>
Value all_are(Renderer& renderer, const Value& self, Arguments& arguments) {
  bind<0>("str method", arguments, {});
  const std::string& text = walked(renderer, self);
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); i += size) {
    if (!holds(text::character_at(text, i, size))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}

bool is_alphanumeric(char32_t c) {
  return text::is_alphabetic(c) || text::is_numeric(c) || text::is_digit(c);
}
bool is_numeric(char32_t c) {
  return text::is_numeric(c) || text::is_digit(c);
}
bool is_ascii(char32_t c) {
  return c < 0x80;
}

Value isascii(Renderer& renderer, const Value& self, Arguments& arguments) {
  return self.text().empty() ? Value::boolean(true) : all_are<is_ascii>(renderer, self, arguments);
}
Value isprintable(Renderer& renderer, const Value& self, Arguments& arguments) {
  return self.text().empty() ? Value::boolean(true)
                             : all_are<text::is_printable>(renderer, self, arguments);
}

// Some character has the case, and none the other one.
template <bool upper>
Value has_case(Renderer& renderer, const Value& self, Arguments& arguments) {
  bind<0>("str method", arguments, {});
  const std::string& text = walked(renderer, self);
  bool found = false;
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); i += size) {
    const char32_t c = text::character_at(text, i, size);
    if (upper ? text::is_lower(c) : text::is_upper(c)) return Value::boolean(false);
    found |= upper ? text::is_upper(c) : text::is_lower(c);
  }
  return Value::boolean(found);
}

Value istitle(Renderer& renderer, const Value& self, Arguments& arguments) {
  bind<0>("istitle", arguments, {});
  const std::string& text = walked(renderer, self);
  return Value::boolean(text::python_title(text) == text &&
                        text::python_lower(text) != text::python_upper(text));
}

template <bool at_start>
Value remove_affix(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [affix] = bind<1>("removeprefix", arguments, {"prefix"}, 1);
  std::string_view text = self.text();
  const std::string& part = require_text(*affix, "argument");
  if (at_start && text.starts_with(part)) text.remove_prefix(part.size());
  if (!at_start && text.ends_with(part)) text.remove_suffix(part.size());
  return to_text(renderer, text);
}

Value expandtabs(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [tabsize] = bind<1>("expandtabs", arguments, {"tabsize"});
  const std::int64_t width = std::min<std::int64_t>(integer_or(tabsize, 8), 1 << 20);
  std::string out;
  std::int64_t column = 0;
  for (const char c : walked(renderer, self)) {
    if (c == '\t') {
      const std::int64_t spaces = width > 0 ? width - column % width : 0;
      renderer.budget().check_text(out.size() + static_cast<std::size_t>(spaces));
      out.append(static_cast<std::size_t>(spaces), ' ');
      column += spaces;
      continue;
    }
    out.push_back(c);
    if (c == '\n' || c == '\r') {
      column = 0;
    } else if (!text::is_continuation(c)) {
      ++column;
    }
  }
  return renderer.text(std::move(out));
}

/// What encode() gives: bytes, which templates can only print.
class Bytes final : public Callable {
 public:
  Bytes(Budget& budget, std::string bytes)
      : Callable(budget, bytes.capacity()), bytes_(std::move(bytes)) {}
  Value call(Renderer& /*renderer*/, Arguments /*arguments*/) override {
    fail_runtime("TypeError: 'bytes' object is not callable");
  }
  std::string print() const override {
    const bool single = bytes_.find('\'') == std::string::npos;
    const char quote = single || bytes_.find('"') != std::string::npos ? '\'' : '"';
    std::string out = std::string("b") + quote;
    for (const char c : bytes_) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == quote || c == '\\') {
        out += '\\';
        out += c;
      } else if (byte >= 0x20 && byte < 0x7F) {
        out += c;
      } else if (c == '\n' || c == '\r' || c == '\t') {
        out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
      } else {
        out += "\\x";
        out += "0123456789abcdef"[byte >> 4];
        out += "0123456789abcdef"[byte & 0xF];
      }
    }
    return out + quote;
  }

 private:
  std::string bytes_;
};

Value encode(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [encoding] = bind<1>("encode", arguments, {"encoding"});
  if (encoding != nullptr && require_text(*encoding, "encoding") != "utf-8") {
    fail_runtime("encodings other than utf-8 are not supported in chat templates");
  }
  return Value(Kind::kCallable, make<Bytes>(renderer.budget(), walked(renderer, self)).get());
}

Value not_supported(Renderer& /*renderer*/, const Value& /*self*/, Arguments& /*arguments*/) {
  fail_runtime("this method of str is not supported in chat templates");
}

constexpr std::array<Method, 47> kMethods = {{
    {"capitalize", change_case<text::python_capitalize>},
    {"casefold", not_supported},
    {"center", justify<Side::kBoth>},
    {"count", count},
    {"encode", encode},
    {"endswith", has_affix<false>},
    {"expandtabs", expandtabs},
    {"find", find<false, false>},
    {"format", format},
    {"format_map", not_supported},
    {"index", find<false, true>},
    {"isalnum", all_are<is_alphanumeric>},
    {"isalpha", all_are<text::is_alphabetic>},
    {"isascii", isascii},
    {"isdecimal", all_are<text::is_decimal>},
    {"isdigit", all_are<text::is_digit>},
    {"isidentifier", not_supported},
    {"islower", has_case<false>},
    {"isnumeric", all_are<is_numeric>},
    {"isprintable", isprintable},
    {"isspace", all_are<text::is_python_space>},
    {"istitle", istitle},
    {"isupper", has_case<true>},
    {"join", join},
    {"ljust", justify<Side::kLeft>},
    {"lower", change_case<text::python_lower>},
    {"lstrip", strip<true, false>},
    {"maketrans", not_supported},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<true>},
    {"removesuffix", remove_affix<false>},
    {"replace", replace},
    {"rfind", find<true, false>},
    {"rindex", find<true, true>},
    {"rjust", justify<Side::kRight>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip<false, true>},
    {"split", split<false>},
    {"splitlines", splitlines},
    {"startswith", has_affix<true>},
    {"strip", strip<true, true>},
    {"swapcase", change_case<text::python_swapcase>},
    {"title", change_case<text::python_title>},
    {"translate", not_supported},
    {"upper", change_case<text::python_upper>},
    {"zfill", zfill},
}};

}  // namespace

const Method* find_string_method(std::string_view name) {
  const auto found = std::ranges::find(kMethods, name, &Method::name);
  return found == kMethods.end() ? nullptr : &*found;
}

}  // namespace shoehorn::jinja
