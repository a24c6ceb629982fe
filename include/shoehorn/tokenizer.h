#pragma once
#include "text/detokenizer.h"
#include "text/tokenizer.h"
namespace shoehorn {
/// The tokenizer of a model, or of a folder with only a tokenizer.json.
Tokenizer load_tokenizer(const std::string& model);
}  // namespace shoehorn
