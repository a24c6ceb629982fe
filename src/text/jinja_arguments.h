// Arguments of built-in functions, matched with their names as Python does.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "base/str_cat.h"
#include "text/jinja_value.h"

namespace shoehorn::jinja {

/// The values of the parameters `names`, null where none was given. Throws a TypeError for too
/// many, unknown or twice given ones, and where one of the first `required` is missing.
template <std::size_t N>
std::array<const Value*, N> bind(std::string_view function, const Arguments& arguments,
                                 const std::array<std::string_view, N>& names,
                                 std::size_t required = 0) {
  std::array<const Value*, N> result{};
  if (arguments.positional.size() > N) {
    fail_runtime(str_cat("TypeError: ", function, "() takes at most ", N, " arguments (",
                         arguments.positional.size(), " given)"));
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    result[i] = &arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.named) {
    std::size_t i = 0;
    while (i < N && names[i] != name) ++i;
    if (i == N) {
      fail_runtime(
          str_cat("TypeError: ", function, "() got an unexpected keyword argument '", name, "'"));
    }
    if (result[i] != nullptr) {
      fail_runtime(
          str_cat("TypeError: ", function, "() got multiple values for argument '", name, "'"));
    }
    result[i] = &value;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (result[i] == nullptr) {
      fail_runtime(str_cat("TypeError: ", function, "() missing argument '", names[i], "'"));
    }
  }
  return result;
}

/// The value as an index or count; `otherwise` where it was not given or none. Throws a TypeError
/// for what is no integer; numbers beyond 62 bits become the nearest.
std::int64_t integer_or(const Value* value, std::int64_t otherwise);
bool bool_or(const Value* value, bool otherwise);
/// The text; throws a TypeError naming `what` for other values.
const std::string& require_text(const Value& value, std::string_view what);

}  // namespace shoehorn::jinja
