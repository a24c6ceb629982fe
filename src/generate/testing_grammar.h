// For tests only: whether a text is one of a grammar's.
#pragma once

#include <optional>
#include <string_view>

#include "generate/gbnf.h"
#include "generate/grammar_matcher.h"

namespace shoehorn::testing {

enum class Match { kNo, kBeginning, kWhole };

inline Match match(std::string_view gbnf, std::string_view text) {
  GrammarMatcher matcher(parse_gbnf(gbnf));
  GrammarMatcher::State state = matcher.start();
  for (const char byte : text) {
    const auto next = matcher.next(state, static_cast<std::uint8_t>(byte));
    if (!next) return Match::kNo;
    state = *next;
  }
  return matcher.may_end(state) ? Match::kWhole : Match::kBeginning;
}

}  // namespace shoehorn::testing
