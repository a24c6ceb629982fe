// Filters that give text.
#include <algorithm>
#include <array>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_filters.h"
#include "text/jinja_print.h"
#include "text/python_text.h"
#include "text/utf8.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

// str(value) that may be walked character by character.
std::string walked(Renderer& renderer, const Value& value) {
  std::string text = renderer.print(value);
  renderer.budget().spend_characters(text.size());
  return text;
}

template <std::string (*convert)(std::string_view)>
Value change_case(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("filter", arguments, {});
  return renderer.text(convert(walked(renderer, value)));
}

// Words start after white space, '-', '(', '{', '[' and '<' only.
std::string title_text(std::string_view text) {
  std::string out;
  const auto separates = [](char32_t c) {
    return text::is_python_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size();) {
    const bool separator = separates(text::character_at(text, i, size));
    std::size_t end = i + size;
    const std::size_t first = end;
    while (end < text.size() && separates(text::character_at(text, end, size)) == separator) {
      end += size;
    }
    out += text::python_upper(text.substr(i, first - i));
    out += text::python_lower(text.substr(first, end - first));
    i = end;
  }
  return out;
}

// Every character is looked at twice, and every word made twice.
Value title(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("title", arguments, {});
  const std::string text = walked(renderer, value);
  renderer.budget().spend_characters(text.size());
  return renderer.text(title_text(text));
}

Value trim(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [characters] = bind<1>("trim", arguments, {"chars"});
  const std::string text = walked(renderer, value);
  if (characters == nullptr || characters->is_none()) {
    return renderer.text(std::string(text::python_strip(text, nullptr, true, true)));
  }
  const std::string_view set = require_text(*characters, "strip arg");
  renderer.budget().spend(set.size());
  return renderer.text(std::string(text::python_strip(text, &set, true, true)));
}

Value to_string(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("string", arguments, {});
  if (value.is_string()) return value;
  return renderer.text(renderer.print(value));
}

Value center(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [width] = bind<1>("center", arguments, {"width"});
  Arguments method_arguments;
  method_arguments.positional.push_back(width == nullptr ? Value::integer(80) : *width);
  return find_string_method("center")->run(renderer, renderer.text(renderer.print(value)),
                                           method_arguments);
}

// A match costs what several nodes do: it is looked for, and two texts are appended.
constexpr std::uint64_t kReplacementSteps = 7;

Value replace(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [from, to, limit] = bind<3>("replace", arguments, {"old", "new", "count"}, 2);
  Budget& budget = renderer.budget();
  const std::string text = walked(renderer, value);
  const std::string old = renderer.print(*from);
  const std::string fresh = renderer.print(*to);
  std::int64_t left = integer_or(limit, -1);
  std::string out;
  std::size_t begin = 0;
  while (left != 0) {
    std::size_t found = begin;
    if (!old.empty()) {
      found = text::find_bytes(text, old, begin);
      if (found == std::string_view::npos) break;
    }
    budget.check_size(out.size() + (found - begin) + fresh.size());
    budget.spend(kReplacementSteps);
    budget.spend_bytes(fresh.size());
    out.append(text, begin, found - begin);
    out += fresh;
    --left;
    begin = found + old.size();
    if (!old.empty()) continue;
    if (begin == text.size()) return renderer.text(std::move(out));
    const std::size_t size = text::sequence_length(text[begin]);
    out.append(text, begin, size);
    begin += size;
  }
  budget.check_size(out.size() + text.size() - begin);
  out.append(text, begin);
  return renderer.text(std::move(out));
}

Value indent(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [width, first, blank] = bind<3>("indent", arguments, {"width", "first", "blank"});
  Budget& budget = renderer.budget();
  budget.spend(require_text(value, "the indented value").size() / 16);
  std::string margin;
  if (width != nullptr && width->is_string()) {
    margin = width->text();
  } else {
    const std::int64_t count = std::max<std::int64_t>(integer_or(width, 4), 0);
    budget.check_text(static_cast<std::size_t>(count));
    margin.assign(static_cast<std::size_t>(count), ' ');
  }
  const std::string text = value.text() + "\n";
  std::string out = bool_or(first, false) ? margin : "";
  bool is_first = true;
  for (const std::string_view line : text::python_splitlines(text)) {
    budget.check_size(out.size() + margin.size() + line.size() + 1);
    budget.spend_bytes(margin.size() + line.size());
    if (!is_first) {
      out += '\n';
      if (!line.empty() || bool_or(blank, false)) out += margin;
    }
    is_first = false;
    out += line;
  }
  return renderer.text(std::move(out));
}

Value escape(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("escape", arguments, {});
  std::string out;
  for (const char c : renderer.print(value)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      default: out += c;
    }
  }
  renderer.budget().check_text(out.size());
  return renderer.text(std::move(out));
}

Value format(Renderer& renderer, const Value& value, Arguments& arguments) {
  if (!arguments.named.empty() && !arguments.positional.empty()) {
    fail_runtime(
        "FilterArgumentError: can't handle positional and keyword arguments at the same "
        "time");
  }
  const std::string text = renderer.print(value);
  if (arguments.named.empty()) {
    return renderer.text(format_percent(
        renderer, text, make_tuple(renderer.budget(), std::move(arguments.positional))));
  }
  const auto dict = make<Dict>(renderer.budget());
  for (const auto& [name, named] : arguments.named) dict->set(renderer.text(name), named);
  return renderer.text(format_percent(renderer, text, Value(Kind::kDict, dict.get())));
}

Value tojson(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [ascii, indent, separators, sort_keys] =
      bind<4>("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  Budget& budget = renderer.budget();
  JsonStyle style;
  style.ensure_ascii = bool_or(ascii, false);
  style.sort_keys = bool_or(sort_keys, false);
  if (indent != nullptr && !indent->is_none()) {
    style.has_indent = true;
    style.item_separator = ",";
    if (indent->is_string()) {
      style.indent = indent->text();
    } else {
      const std::int64_t width = std::max<std::int64_t>(integer_or(indent, 0), 0);
      budget.check_text(static_cast<std::size_t>(width));
      style.indent.assign(static_cast<std::size_t>(width), ' ');
    }
  }
  if (separators != nullptr && !separators->is_none()) {
    const std::vector<Value> parts = iterate(budget, *separators);
    if (parts.size() != 2) fail_runtime("ValueError: separators must be a pair");
    style.item_separator = require_text(parts[0], "separators[0]");
    style.key_separator = require_text(parts[1], "separators[1]");
  }
  return renderer.text(to_json(budget, value, style));
}

Value wordcount(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("wordcount", arguments, {});
  const std::string text = walked(renderer, value);
  renderer.budget().spend_characters(text.size());  // classes of characters are in tables
  Integer words = 0;
  bool inside = false;
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); i += size) {
    const bool word = text::is_word(text::character_at(text, i, size));
    if (word && !inside) ++words;
    inside = word;
  }
  return Value::integer(words);
}

Value truncate(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [length, killwords, end, leeway] =
      bind<4>("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const std::string tail = end == nullptr ? "..." : require_text(*end, "end");
  const auto tail_size = static_cast<std::int64_t>(text::count_characters(tail));
  const std::int64_t wanted = integer_or(length, 255);
  const std::int64_t slack = integer_or(leeway, 5);
  if (wanted < tail_size) {
    fail_runtime(str_cat("AssertionError: expected length >= ", tail_size, ", got ", wanted));
  }
  if (slack < 0) fail_runtime(str_cat("AssertionError: expected leeway >= 0, got ", slack));
  // Whatever is short enough is given back, lists too.
  const std::size_t size = jinja::length(renderer.budget(), value);
  if (static_cast<std::int64_t>(size) <= wanted + slack) return value;
  const std::string& text = require_text(value, "the truncated value");
  const std::string kept =
      text.substr(0, text::byte_of_character(text, static_cast<std::size_t>(wanted - tail_size)));
  if (bool_or(killwords, false)) return renderer.text(kept + tail);
  return renderer.text(kept.substr(0, kept.rfind(' ')) + tail);
}

std::string quoted(std::string_view text, std::string_view safe, bool plus) {
  constexpr std::string_view kPlain = "_.-~";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool alphanumeric =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric || kPlain.find(c) != std::string_view::npos ||
        safe.find(c) != std::string_view::npos) {
      out += c;
    } else if (plus && c == ' ') {
      out += '+';
    } else {
      out += '%';
      out += "0123456789ABCDEF"[byte >> 4];
      out += "0123456789ABCDEF"[byte & 0xF];
    }
  }
  return out;
}

Value urlencode(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("urlencode", arguments, {});
  Budget& budget = renderer.budget();
  const bool is_dict = value.is(Kind::kDict);
  if (value.is_string() || !(is_dict || value.is_sequence())) {
    const std::string text = renderer.print(value);
    budget.spend_characters(2 * text.size());
    std::string out = quoted(text, "/", false);
    budget.check_text(out.size());
    return renderer.text(std::move(out));
  }
  std::string out;
  Arguments none;
  const Value pairs = is_dict ? find_method(value, "items")->run(renderer, value, none) : value;
  for (const Value& pair : iterate(budget, pairs)) {
    const std::vector<Value> parts = iterate(budget, pair);
    if (parts.size() != 2) fail_runtime("ValueError: expected pairs of a key and a value");
    if (!out.empty()) out += '&';
    budget.spend(16);
    out += quoted(renderer.print(parts[0]), "", true) + "=" +
           quoted(renderer.print(parts[1]), "", true);
    budget.check_text(out.size());
  }
  return renderer.text(std::move(out));
}

// As MarkupSafe 3.0.4 does: from the first tag or comment that is not closed, all is text.
std::string without_tags(std::string_view text) {
  constexpr std::string_view kComment = "<!--";
  constexpr std::string_view kCommentEnd = "-->";
  std::string out;
  while (true) {
    const std::size_t begin = std::min(text.find('<'), text.size());
    const bool is_comment = text.substr(begin).starts_with(kComment);
    const std::string_view closing = is_comment ? kCommentEnd : ">";
    const std::size_t end = text.find(closing, begin + (is_comment ? kComment.size() : 0));
    if (begin == text.size() || end == text.npos) return out.append(text);
    out.append(text.substr(0, begin));
    text.remove_prefix(end + closing.size());
  }
}

// Without comments and tags, white space collapsed.
Value striptags(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("striptags", arguments, {});
  const std::string text = walked(renderer, value);
  std::string plain = without_tags(text);
  if (plain.find('&') != std::string::npos) {
    fail_runtime("striptags of text with character references is not supported");
  }
  Arguments none;
  const Value words = find_string_method("split")->run(renderer, renderer.text(plain), none);
  Arguments joined;
  joined.positional.push_back(words);
  return find_string_method("join")->run(renderer, renderer.text(" "), joined);
}

Value pprint(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("pprint", arguments, {});
  std::string out;
  append_repr(renderer.budget(), out, value);
  if (text::count_characters(out) > 80) {
    fail_runtime("pprint of values that take more than one line is not supported");
  }
  return renderer.text(std::move(out));
}

Value safe(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("safe", arguments, {});
  return renderer.text(renderer.print(value));
}

Value not_supported(Renderer& /*renderer*/, const Value& /*value*/, Arguments& /*arguments*/) {
  fail_runtime("this filter is not supported in chat templates");
}

constexpr std::array<Builtin, 24> kFilters = {{{"upper", change_case<text::python_upper>},
                                               {"lower", change_case<text::python_lower>},
                                               {"title", title},
                                               {"capitalize", change_case<text::python_capitalize>},
                                               {"trim", trim},
                                               {"string", to_string},
                                               {"safe", safe},
                                               {"center", center},
                                               {"replace", replace},
                                               {"indent", indent},
                                               {"escape", escape},
                                               {"e", escape},
                                               {"forceescape", escape},
                                               {"format", format},
                                               {"tojson", tojson},
                                               {"wordcount", wordcount},
                                               {"truncate", truncate},
                                               {"urlencode", urlencode},
                                               {"striptags", striptags},
                                               {"pprint", pprint},
                                               {"urlize", not_supported},
                                               {"wordwrap", not_supported},
                                               {"xmlattr", not_supported},
                                               {"random", not_supported}}};

}  // namespace

std::span<const Builtin> text_filters() {
  return kFilters;
}

}  // namespace shoehorn::jinja
