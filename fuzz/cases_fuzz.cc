// Planning cases from anywhere: plan_cases_json answers or throws an Error, whatever the text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shoehorn/error.h"

#include "plan/cases.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    shoehorn::plan_cases_json({reinterpret_cast<const char*>(data), size});
  } catch (const shoehorn::FormatError&) {
    // Not a case file, and it says so; any other exception is a bug.
  }
  return 0;
}
