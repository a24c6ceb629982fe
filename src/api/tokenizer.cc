// load_tokenizer: a tokenizer without a model.

#include "shoehorn/tokenizer.h"

#include <cstdint>
#include <filesystem>

#include "shoehorn/error.h"

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_path.h"
#include "checkpoint/slow_tokenizer.h"

namespace shoehorn {

namespace {

constexpr std::uint64_t kMaxSettingsBytes = 64U << 20;

}  // namespace

Tokenizer load_tokenizer(const std::string& model) {
  const std::filesystem::path path = resolve_model_path(model);
  if (std::filesystem::is_regular_file(path) && path.extension() == ".json") {
    return Tokenizer::from_json(read_text_file(path), path);
  }
  if (std::filesystem::exists(path / "tokenizer.json")) {
    return Tokenizer::from_json(read_text_file(path / "tokenizer.json"), path / "tokenizer.json");
  }
  if (std::filesystem::is_directory(path)) {
    const auto read = [&](const char* name) {
      const std::filesystem::path file = path / name;
      return std::filesystem::exists(file) ? read_text_file(file, kMaxSettingsBytes)
                                           : std::string();
    };
    const std::string json =
        slow_tokenizer_json(path, read("tokenizer_config.json"), read("config.json"));
    if (!json.empty()) return Tokenizer::from_json(json, path);
  }
  const Checkpoint checkpoint = open_checkpoint(path);
  if (checkpoint.tokenizer_json().empty()) {
    throw UnsupportedError(path.string() +
                           ": has neither a tokenizer.json nor vocabulary files to make one of "
                           "(tokenizer.model, vocab.json and merges.txt, vocab.txt)");
  }
  return Tokenizer::from_json(checkpoint.tokenizer_json(), path);
}

}  // namespace shoehorn
