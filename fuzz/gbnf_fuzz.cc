// The first half as a grammar, the second as a text that is matched by it: no grammar makes the
// matcher run on or reach outside.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shoehorn/error.h"

#include "generate/gbnf.h"
#include "generate/grammar_matcher.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = all.find('\0') == std::string_view::npos ? size : all.find('\0');
  try {
    shoehorn::GrammarMatcher matcher(shoehorn::parse_gbnf(all.substr(0, cut)));
    auto state = matcher.start();
    for (const char byte : all.substr(cut < size ? cut + 1 : size)) {
      const auto next = matcher.next(state, static_cast<std::uint8_t>(byte));
      if (!next) break;
      state = *next;
    }
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
