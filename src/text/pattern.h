// The patterns of Split and Replace: a literal string or a regular expression.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "text/json_value.h"
#include "text/regex.h"
#include "text/utf8.h"

namespace shoehorn::text {

class PatternFinder;

/// Immutable, thread-safe; a PatternFinder searches with it.
class Pattern {
 public:
  /// From {"String": "..."}, {"Regex": "..."} or a plain string. Throws FormatError.
  explicit Pattern(const JsonValue& config);

  /// The literal, or nothing for a regular expression.
  std::optional<std::string_view> literal() const {
    return regex_ ? std::nullopt : std::optional<std::string_view>(literal_);
  }

 private:
  friend class PatternFinder;

  std::string literal_;
  std::optional<Regex> regex_;
};

/// Searches one text after the other for a pattern, which it borrows. Not thread-safe.
class PatternFinder {
 public:
  explicit PatternFinder(const Pattern& pattern) : literal_(pattern.literal_) {
    if (pattern.regex_) search_.emplace(*pattern.regex_);
  }

  /// Calls visit(begin, end) for each match from left to right. Matches do not overlap; the empty
  /// string matches at every character and at the end.
  template <typename Visit>
  void for_each_match(std::string_view text, const Visit& visit) {
    if (search_) {
      search_->start(text);
      for (RegexMatch match; search_->next(match);) visit(match.begin, match.end);
      return;
    }
    for (std::size_t at = 0; (at = text.find(literal_, at)) != text.npos;) {
      visit(at, at + literal_.size());
      at += literal_.size();
      if (!literal_.empty()) continue;
      if (at == text.size()) return;
      at += sequence_length(text[at]);
    }
  }

 private:
  std::string_view literal_;
  std::optional<RegexSearch> search_;
};

}  // namespace shoehorn::text
