#include "text/jinja_print.h"

#include <algorithm>
#include <cmath>

#include "base/str_cat.h"
#include "text/jinja_renderer.h"
#include "text/python_text.h"
#include "text/utf8.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

std::string range_text(const Range& range) {
  const std::string ends = str_cat("range(", range.start, ", ", range.stop);
  return range.step == 1 ? ends + ")" : str_cat(ends, ", ", range.step, ")");
}

class JsonWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style) : budget_(budget), style_(style) {}

  void write(const Value& value, std::size_t level) {
    budget_.spend(1);
    budget_.check_size(out.size());
    switch (value.kind()) {
      case Kind::kNone: out += "null"; return;
      case Kind::kBool: out += value.as_bool() ? "true" : "false"; return;
      case Kind::kInteger: out += text::python_repr(value.as_integer()); return;
      case Kind::kFloat: out += number(value.as_double()); return;
      case Kind::kString: write_string(value.text()); return;
      case Kind::kList:
      case Kind::kTuple: write_list(value.items(), level); return;
      case Kind::kDict: write_dict(value.dict(), level); return;
      default: break;
    }
    fail_runtime(
        str_cat("TypeError: Object of type ", type_name(value), " is not JSON serializable"));
  }

  std::string out;

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return text::python_repr(value);
  }

  void new_line(std::size_t level) {
    if (!style_.has_indent) return;
    out += '\n';
    budget_.spend_bytes(level * style_.indent.size());
    budget_.check_size(out.size() + level * style_.indent.size());
    for (std::size_t i = 0; i < level; ++i) out += style_.indent;
  }

  void write_list(const std::vector<Value>& items, std::size_t level) {
    out += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line(level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) new_line(level);
    out += ']';
  }

  void write_dict(const Dict& dict, std::size_t level) {
    std::vector<const Dict::Entry*> entries;
    entries.reserve(dict.entries.size());
    for (const Dict::Entry& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::ranges::stable_sort(entries, [this](const Dict::Entry* a, const Dict::Entry* b) {
        return less(budget_, a->first, b->first);
      });
    }
    out += '{';
    bool first = true;
    for (const Dict::Entry* entry : entries) {
      if (!first) out += style_.item_separator;
      first = false;
      new_line(level + 1);
      write_key(entry->first);
      out += style_.key_separator;
      write(entry->second, level + 1);
    }
    if (!entries.empty()) new_line(level);
    out += '}';
  }

  void write_key(const Value& key) {
    switch (key.kind()) {
      case Kind::kString: write_string(key.text()); return;
      case Kind::kNone: out += "\"null\""; return;
      case Kind::kBool: out += key.as_bool() ? "\"true\"" : "\"false\""; return;
      case Kind::kInteger: out += '"' + text::python_repr(key.as_integer()) + '"'; return;
      case Kind::kFloat: out += '"' + number(key.as_double()) + '"'; return;
      default: break;
    }
    fail_runtime(
        str_cat("TypeError: keys must be str, int, float, bool or None, not ", type_name(key)));
  }

  void write_unit(unsigned unit) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += kDigits[(unit >> shift) & 0xF];
  }

  void write_string(std::string_view text) {
    budget_.spend_bytes(text.size());
    budget_.check_size(out.size() + text.size());
    out += '"';
    std::size_t size = 0;
    for (std::size_t i = 0; i < text.size(); i += size) {
      const char32_t c = text::character_at(text, i, size);
      switch (c) {
        case '"': out += "\\\""; continue;
        case '\\': out += "\\\\"; continue;
        case '\n': out += "\\n"; continue;
        case '\r': out += "\\r"; continue;
        case '\t': out += "\\t"; continue;
        case '\f': out += "\\f"; continue;
        case '\b': out += "\\b"; continue;
        default: break;
      }
      if (c < 0x20 || (style_.ensure_ascii && c > 0x7E && c < 0x10000)) {
        write_unit(static_cast<unsigned>(c));
      } else if (style_.ensure_ascii && c >= 0x10000) {
        write_unit(static_cast<unsigned>(0xD800 + ((c - 0x10000) >> 10)));
        write_unit(static_cast<unsigned>(0xDC00 + ((c - 0x10000) & 0x3FF)));
      } else {
        out += text.substr(i, size);
      }
    }
    out += '"';
  }

  Budget& budget_;
  const JsonStyle& style_;
};

// Lists and mappings are bounded where they are made; a namespace may hold itself.
constexpr std::uint32_t kMostNested = 2 * Limits::kDepth;

class ReprWriter {
 public:
  ReprWriter(Budget& budget, std::string& out) : budget_(budget), out_(out) {}

  void write(const Value& value);

 private:
  // Between the brackets.
  void write_items(const std::vector<Value>& items) {
    bool first = true;
    for (const Value& item : items) {
      if (!first) out_ += ", ";
      first = false;
      write(item);
    }
  }

  void write_entries(const Dict& dict) {
    out_ += '{';
    bool first = true;
    for (const auto& [key, value] : dict.entries) {
      if (!first) out_ += ", ";
      first = false;
      write(key);
      out_ += ": ";
      write(value);
    }
    out_ += '}';
  }

  void write_nested(const Value& value);

  Budget& budget_;
  std::string& out_;
  std::uint32_t level_ = 0;
};

void ReprWriter::write(const Value& value) {
  if (level_ >= kMostNested) {
    fail(ErrorKind::kLimit, str_cat("a value nested more than ", kMostNested,
                                    " deep, or within itself, cannot be printed"));
  }
  ++level_;
  write_nested(value);
  --level_;
}

void ReprWriter::write_nested(const Value& value) {
  budget_.spend(1);
  budget_.check_size(out_.size());
  switch (value.kind()) {
    case Kind::kNone: out_ += "None"; return;
    case Kind::kBool: out_ += value.as_bool() ? "True" : "False"; return;
    case Kind::kInteger: out_ += text::python_repr(value.as_integer()); return;
    case Kind::kFloat: out_ += text::python_repr(value.as_double()); return;
    case Kind::kUndefined: out_ += "Undefined"; return;
    case Kind::kString:
      budget_.spend_bytes(value.text().size());
      budget_.check_size(out_.size() + value.text().size());
      text::append_python_repr(out_, value.text());
      return;
    case Kind::kList:
      out_ += '[';
      write_items(value.items());
      out_ += ']';
      return;
    case Kind::kTuple:
      out_ += '(';
      write_items(value.items());
      out_ += value.items().size() == 1 ? ",)" : ")";
      return;
    case Kind::kKeys:
    case Kind::kValues:
    case Kind::kItems:
      out_ += type_name(value);
      out_ += "([";
      write_items(value.items());
      out_ += "])";
      return;
    case Kind::kDict: write_entries(value.dict()); return;
    case Kind::kRange: out_ += range_text(value.as<Range>()); return;
    case Kind::kGenerator: out_ += "<generator object>"; return;
    case Kind::kNamespace:
      out_ += "<Namespace ";
      write_entries(value.as<Namespace>().attributes);
      out_ += '>';
      return;
    case Kind::kLoop: {
      auto& loop = value.as<Loop>();
      out_ += str_cat("<LoopContext ", loop.index0 + 1, "/", loop.length(), ">");
      return;
    }
    case Kind::kCallable: out_ += value.as<Callable>().print(); return;
  }
}

}  // namespace

void append_repr(Budget& budget, std::string& out, const Value& value) {
  ReprWriter(budget, out).write(value);
}

void append_print(Budget& budget, std::string& out, const Value& value) {
  if (value.is_undefined()) return;
  if (!value.is_string()) {
    append_repr(budget, out, value);
    return;
  }
  budget.spend_bytes(value.text().size());
  out += value.text();
}

std::string print(Budget& budget, const Value& value) {
  if (value.is_string()) {
    budget.check_text(value.text().size());
    return value.text();
  }
  std::string out;
  append_print(budget, out, value);
  return out;
}

std::string to_json(Budget& budget, const Value& value, const JsonStyle& style) {
  JsonWriter writer(budget, style);
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace shoehorn::jinja
