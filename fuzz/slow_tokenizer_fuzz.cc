// The files of a tokenizer without tokenizer.json, five texts with NULs between: tokenizer_config,
// vocab.json, merges.txt, vocab.txt, special_tokens_map. Refused with an Error, or a tokenizer.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <unistd.h>

#include "shoehorn/error.h"
#include "shoehorn/tokenizer.h"

#include "checkpoint/slow_tokenizer.h"

namespace {

namespace fs = std::filesystem;

const fs::path& folder() {
  static const fs::path path = [] {
    fs::path made = fs::temp_directory_path() / ("slow-tokenizer-fuzz-" + std::to_string(getpid()));
    fs::create_directories(made);
    return made;
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto next = [&rest] {
    const std::string_view part = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(part.size() == rest.size() ? part.size() : part.size() + 1);
    return part;
  };
  const std::string settings(next());
  for (const char* name : {"vocab.json", "merges.txt", "vocab.txt", "special_tokens_map.json"}) {
    std::ofstream(folder() / name, std::ios::binary) << next();
  }
  for (const char* config : {"", R"({"model_type":"gpt2"})", R"({"model_type":"bert"})"}) {
    try {
      const std::string json = shoehorn::slow_tokenizer_json(folder(), settings, config);
      const auto tokenizer = shoehorn::Tokenizer::from_json(json, "fuzz");
      tokenizer.encode(" hello <s> world\n 12");
    } catch (const shoehorn::Error&) {
    }
  }
  return 0;
}
