// The variables of a rendering, from JSON.
#pragma once

#include <string_view>

#include "text/jinja_value.h"

namespace shoehorn::jinja {

/// A JSON value as a template sees it. Throws FormatError (without a file name) where the text is
/// not JSON, Failure where it goes beyond the limits.
Value read_json(Budget& budget, std::string_view json);

/// The messages with the reasoning text of each under the two names that templates ask for, as
/// transformers does before it renders: the first of reasoning_content, thinking and reasoning that
/// is not null becomes reasoning_content, and thinking where there is none.
Value with_reasoning(Budget& budget, const Value& messages);

}  // namespace shoehorn::jinja
