// Values as text: Python's str and repr, and json.dumps.
#pragma once

#include <string>

#include "text/jinja_value.h"

namespace shoehorn::jinja {

/// str(value): nothing for undefined values.
std::string print(Budget& budget, const Value& value);
/// Appends it, without a copy where it is a string.
void append_print(Budget& budget, std::string& out, const Value& value);
void append_repr(Budget& budget, std::string& out, const Value& value);

/// The arguments of json.dumps that templates know.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool has_indent = false;
  std::string indent;  // one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
/// json.dumps. Throws a TypeError for what JSON cannot say.
std::string to_json(Budget& budget, const Value& value, const JsonStyle& style);

}  // namespace shoehorn::jinja
