// Any text as tokenizer_config.json, read for its chat templates: they, or an Error.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "shoehorn/error.h"

#include "checkpoint/chat_template_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto found = shoehorn::find_chat_templates({}, text);
    std::set<std::string> names;
    for (const auto& [name, source] : found.sources) {
      if (!names.insert(name).second) std::abort();
    }
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
