// Reading a pattern.
#include "text/pattern.h"

#include "shoehorn/error.h"

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

}  // namespace shoehorn::text
