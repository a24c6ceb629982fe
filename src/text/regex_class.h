// Character classes of the regular expression dialect: [...], \p{...}, \d and their like.
#pragma once

#include <optional>

#include "text/code_point_set.h"
#include "text/regex_reader.h"

namespace shoehorn::text {

/// The set of a bracket expression whose opening bracket has just been read: ranges, escapes, POSIX
/// brackets, nested classes, intersections (&&) and negation.
CodePointSet parse_class(RegexReader& in, bool ignore_case);

/// The set of \d \w \s \h \p{..} or a negation, read after the backslash; nothing, and nothing
/// read, if another escape is next. Outside of brackets \w
/// holds a little more, and ignoring case changes nothing.
std::optional<CodePointSet> parse_class_escape(RegexReader& in, bool in_class);

/// The character of an escape like \n, \x41, \x{1F600}, \u00e9, \., read after the backslash. \b is
/// a backspace inside a class.
char32_t parse_character_escape(RegexReader& in, bool in_class);

}  // namespace shoehorn::text
