// Questions about single characters, answered from unicode_tables.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/code_point_set.h"

namespace shoehorn::text {

/// White_Space, the same 25 characters in every Unicode version that occurs here.
constexpr bool is_white(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// The label of the run that holds `c`.
int label_of(std::span<const unicode::LabelRun> runs, char32_t c);

/// Appends the lower-case form of `c` without regard to its context (Unicode 17).
void append_lower(std::string& out, char32_t c);

/// The set that \p{name} means in a regular expression: a general category or group of them, a
/// script, Alphabetic, or a POSIX class; spaces, hyphens, underscores and case of the name do not
/// matter. Nothing if there is no such property.
std::optional<CodePointSet> property_set(std::string_view name);

/// What \w and \p{word} match outside of brackets: six Latin-1 numbers more than [:word:].
CodePointSet word_set();

/// The set that [:name:] means in a regular expression, or nothing.
std::optional<CodePointSet> posix_set(std::string_view name);

/// Adds to `set` all characters that case folding takes for the same as one of its members.
void close_under_case(CodePointSet& set);

}  // namespace shoehorn::text
