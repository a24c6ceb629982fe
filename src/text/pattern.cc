// Reading a pattern.
#include "text/pattern.h"

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/utf8.h"

namespace shoehorn::text {

Pattern::Pattern(const JsonValue& config) {
  if (config.is_string()) {
    literal_ = config.as_string();
  } else if (config.has("String")) {
    literal_ = config.get("String").as_string();
  } else if (config.has("Regex")) {
    try {
      regex_.emplace(config.get("Regex").as_string());
    } catch (const FormatError& error) {
      config.fail(error.what());
    }
  } else {
    config.fail("expected {\"String\": ...} or {\"Regex\": ...}");
  }
}

std::size_t Pattern::next_character(std::string_view text, std::size_t at) {
  return at + sequence_length(text[at]);
}

}  // namespace shoehorn::text
