// The patterns of Split and Replace: a literal string or a regular expression.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "text/json_value.h"
#include "text/regex.h"

namespace shoehorn::text {

/// Immutable, thread-safe.
class Pattern {
 public:
  /// From {"String": "..."}, {"Regex": "..."} or a plain string. Throws FormatError.
  explicit Pattern(const JsonValue& config);

  /// Calls visit(begin, end) for each match from left to right. Matches do not overlap; the empty
  /// string matches at every character and at the end.
  template <typename Visit>
  void for_each_match(std::string_view text, const Visit& visit) const {
    if (regex_) {
      RegexSearch search(*regex_, text);
      for (RegexMatch match; search.next(match);) visit(match.begin, match.end);
      return;
    }
    for (std::size_t at = 0; (at = find_literal(text, at)) != std::string_view::npos;) {
      visit(at, at + literal_.size());
      at += literal_.size();
      if (literal_.empty()) at = at < text.size() ? next_character(text, at) : at + 1;
      if (at > text.size()) return;
    }
  }

  /// The literal, or nothing for a regular expression.
  std::optional<std::string_view> literal() const {
    return regex_ ? std::nullopt : std::optional<std::string_view>(literal_);
  }
  const std::optional<Regex>& regex() const { return regex_; }

 private:
  std::size_t find_literal(std::string_view text, std::size_t from) const {
    return text.find(literal_, from);
  }
  static std::size_t next_character(std::string_view text, std::size_t at);

  std::string literal_;
  std::optional<Regex> regex_;
};

}  // namespace shoehorn::text
