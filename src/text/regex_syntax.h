// Reads a regular expression in the dialect of tokenizer.json (Oniguruma with Ruby syntax, UTF-8)
// into a syntax tree. docs of the dialect: the Oniguruma manual "RE"; what is left out is refused.
#pragma once

#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "text/code_point_set.h"

namespace shoehorn::text {

struct RegexNode {
  enum Kind {
    kEmpty,      // matches nothing, successfully
    kSet,        // one character of `set`
    kConcat,     // `children` one after the other
    kAlternate,  // the first of `children` that leads to a match
    kRepeat,     // children[0], min to max times
    kCapture,    // children[0], remembered as group `number`
    kAtomic,     // children[0] without giving back
    kLook,       // children[0] must match here (ahead) or end here (behind), or must not
    kAssert,     // a position
    kBackreference,
    kGraphemeCluster,  // \X
  };
  enum class Position {
    kLineBegin,
    kLineEnd,
    kTextBegin,
    kTextEnd,
    kTextEndOrNewline,
    kWordBoundary,
    kNotWordBoundary
  };
  static constexpr int kUnlimited = std::numeric_limits<int>::max();

  explicit RegexNode(Kind k) : kind(k) {}

  Kind kind;
  CodePointSet set;
  std::vector<std::unique_ptr<RegexNode>> children;
  int min = 0;
  int max = 0;
  bool greedy = true;
  bool negative = false;
  bool behind = false;
  bool ignore_case = false;
  int number = 0;
  Position position = Position::kTextBegin;
};

struct RegexTree {
  std::unique_ptr<RegexNode> root;
  int capture_count = 0;
  bool has_backreference = false;
};

/// Throws FormatError (without a file) that shows the pattern and the place of what is wrong.
RegexTree parse_regex(std::string_view pattern);

}  // namespace shoehorn::text
