// Any text as a JSON schema: refused with an Error, or its grammar is one.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shoehorn/error.h"

#include "generate/gbnf.h"
#include "generate/json_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string grammar;
  try {
    grammar = shoehorn::json_schema_gbnf({reinterpret_cast<const char*>(data), size});
  } catch (const shoehorn::Error&) {
    return 0;
  }
  try {
    shoehorn::parse_gbnf(grammar);
  } catch (const shoehorn::Error& error) {
    // A schema may refer to itself without end, or be too large once it is written out; a grammar
    // that does not parse is a mistake of ours.
    const std::string_view what = error.what();
    const bool fine = what.find("left recursion") != std::string_view::npos ||
                      what.find("no finite text") != std::string_view::npos ||
                      what.find("more than") != std::string_view::npos;
    if (!fine) std::abort();
  }
  return 0;
}
