// load_tokenizer: a tokenizer without a model.

#include "shoehorn/tokenizer.h"

#include <filesystem>

#include "shoehorn/error.h"

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_path.h"

namespace shoehorn {

Tokenizer load_tokenizer(const std::string& model) {
  const std::filesystem::path path = resolve_model_path(model);
  if (std::filesystem::is_regular_file(path) && path.extension() == ".json") {
    return Tokenizer::from_json(read_text_file(path), path);
  }
  if (std::filesystem::exists(path / "tokenizer.json")) {
    return Tokenizer::from_json(read_text_file(path / "tokenizer.json"), path / "tokenizer.json");
  }
  const Checkpoint checkpoint = open_checkpoint(path);
  if (checkpoint.tokenizer_json().empty()) {
    throw UnsupportedError(path.string() + ": has no tokenizer.json");
  }
  return Tokenizer::from_json(checkpoint.tokenizer_json(), path);
}

}  // namespace shoehorn
