// Any bytes as a chat template: refused with an Error, or rendered to UTF-8 within the limits, and
// twice the same. What follows a NUL in the input is JSON for its variables.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shoehorn/chat_template.h"

#include "text/utf8.h"

namespace {

constexpr std::string_view kVariables = R"({
  "now": "2025-03-07T09:05:04", "bos_token": "<s>", "add_generation_prompt": true,
  "l": [1, 2, 3], "s": "h\u00e9llo", "d": {"a": 1, "b": "x", "items": [true, null, 1.5]},
  "messages": [{"role": "user", "content": "Hi {{ x }}"}, {"role": "assistant", "content": " A ",
                "reasoning": "R"}, {"role": "user", "content": [{"type": "text", "text": "t"}]}],
  "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]})";

void require(bool holds) {
  if (!holds) std::abort();
}

std::string render(const shoehorn::ChatTemplate& chat_template, std::string_view variables) {
  try {
    return chat_template.render(variables);
  } catch (const shoehorn::Error& error) {
    return error.what();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  try {
    const auto chat_template =
        shoehorn::ChatTemplate::from_source(input.substr(0, end), "fuzz.jinja");
    const std::string text = render(chat_template, kVariables);
    require(shoehorn::text::is_valid_utf8(text));
    require(render(chat_template, kVariables) == text);
    render(chat_template, input.substr(std::min(end + 1, size)));
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
