// Tokenizers of folders without a tokenizer.json: the tokenizer.json that transformers would make
// of tokenizer.model, vocab.json and merges.txt, or vocab.txt.
#pragma once

#include <filesystem>
#include <string>

namespace shoehorn {

/// The text of a tokenizer.json for the vocabulary files in `folder`, as transformers 5.24 converts
/// them for their class (tokenizer_class.h); empty where there are none. `config` is the text of
/// config.json, `tokenizer_config` that of tokenizer_config.json; either may be empty. Throws
/// FileError, FormatError, and UnsupportedError for classes and models that are not known.
std::string slow_tokenizer_json(const std::filesystem::path& folder,
                                const std::string& tokenizer_config, const std::string& config);

}  // namespace shoehorn
