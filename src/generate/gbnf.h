// GBNF, the grammar notation of llama.cpp: `name ::= "text" [a-z] (a | b)* c{2,3} # comment`. What
// is generated matches the rule `root`.
#pragma once

#include <string>
#include <string_view>

#include "generate/grammar.h"

namespace shoehorn {

/// Literals with \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH, character classes ([^...] negates),
/// `.` for any character, groups, alternatives, * + ? {m} {m,} {m,n}. Classes match characters, not
/// bytes. `name` is what messages call the text. Throws FormatError naming line and rule: for
/// broken syntax, rules that are used and not defined or defined twice, no `root`, left recursion,
/// a root that matches nothing finite, and what goes beyond the limits (1 MiB of text, 2^20
/// symbols, nesting of 64, 4096 repetitions).
Grammar parse_gbnf(std::string_view text, const std::string& name = "grammar");

}  // namespace shoehorn
