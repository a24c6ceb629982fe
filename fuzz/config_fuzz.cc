// Any text as config.json, every key read as every type: values, or an Error.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shoehorn/error.h"

#include "checkpoint/config.h"
#include "checkpoint/quantization_config.h"

namespace {

template <typename Read>
void attempt(const Read& read) {
  try {
    read();
  } catch (const shoehorn::Error&) {
  }
}

void read_all(const shoehorn::Config& config, int depth) {
  for (const std::string& key : config.keys()) {
    attempt([&] {
      const std::int64_t size = config.size(key);
      if (size < 1 || size > INT32_MAX) std::abort();
    });
    attempt([&] { config.integer(key, 0); });
    attempt([&] {
      if (!std::isfinite(config.number(key))) std::abort();
    });
    attempt([&] { config.boolean(key); });
    attempt([&] { config.text(key); });
    attempt([&] { config.integers(key); });
    attempt([&] { config.numbers(key); });
    attempt([&] { config.texts(key); });
    if (depth < 4) attempt([&] { read_all(config.child(key), depth + 1); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attempt([&] { read_all(shoehorn::Config::parse(text, "config.json"), 0); });
  attempt([&] {
    const auto config = shoehorn::Config::parse(text, "config.json");
    const auto found = shoehorn::parse_quantization_config(config, nullptr);
    if (found && shoehorn::find_quantization_problem(*found)) std::abort();
  });
  return 0;
}
