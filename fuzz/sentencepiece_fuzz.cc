// Any bytes as a tokenizer.model, for each of the classes that read one: refused with an Error, or
// a tokenizer.json that is one, whose tokenizer encodes.

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

#include "checkpoint/sentencepiece_model.h"
#include "checkpoint/slow_tokenizer.h"

namespace {

namespace fs = std::filesystem;

const fs::path& folder() {
  static const fs::path path = [] {
    fs::path made = fs::temp_directory_path() / ("sentencepiece-fuzz-" + std::to_string(getpid()));
    fs::create_directories(made);
    return made;
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    shoehorn::sentencepiece::parse_model(bytes, "fuzz.model");
  } catch (const shoehorn::Error&) {
    return 0;  // every class reads it the same way
  }
  std::ofstream(folder() / "tokenizer.model", std::ios::binary) << bytes;
  constexpr std::array<const char*, 5> kSettings = {
      "", R"({"tokenizer_class":"LlamaTokenizer","legacy":true,"add_bos_token":true})",
      R"({"tokenizer_class":"GemmaTokenizer"})", R"({"tokenizer_class":"T5Tokenizer"})",
      R"({"tokenizer_class":"XLMRobertaTokenizer"})"};
  for (const char* settings : kSettings) {
    try {
      const auto tokenizer = shoehorn::Tokenizer::from_json(
          shoehorn::slow_tokenizer_json(folder(), settings, ""), "fuzz");
      tokenizer.encode(" hello  \xE2\x96\x81 world\n 12");
    } catch (const shoehorn::Error&) {
    }
  }
  return 0;
}
