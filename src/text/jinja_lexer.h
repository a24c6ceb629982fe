// From the text of a template to tokens, with jinja2's rules for white space: trim_blocks and
// lstrip_blocks on, '-' and '+' in delimiters, one newline at the end dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace shoehorn::jinja {

struct Location {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
};

/// A syntax error and its place.
struct SyntaxFailure {
  Location at;
  std::string message;
  ErrorKind kind = ErrorKind::kSyntax;
};
[[noreturn]] void fail_syntax(Location at, std::string message);

struct Token {
  enum class Type : std::uint8_t {
    kData,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };
  Type type = Type::kEnd;
  Location at;
  /// Text, name, operator, or the value of a string.
  std::string text;
  Integer integer = 0;
  double number = 0;

  bool is(Type wanted) const { return type == wanted; }
  bool is_operator(std::string_view symbol) const {
    return type == Type::kOperator && text == symbol;
  }
  bool is_name(std::string_view name) const { return type == Type::kName && text == name; }
};

/// All tokens; the last is kEnd. `source` is valid UTF-8. Throws SyntaxFailure.
std::vector<Token> tokenize(std::string_view source);

/// For messages: "end of statement block", "'x'".
std::string describe(const Token& token);

}  // namespace shoehorn::jinja
