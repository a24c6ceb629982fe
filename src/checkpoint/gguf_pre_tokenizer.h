// How text is cut before byte-level BPE, by the name in tokenizer.ggml.pre.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace shoehorn::gguf {

/// Parts of a tokenizer.json, as JSON text.
struct PreTokenizer {
  std::string normalizer;     // "null" where there is none
  std::string pre_tokenizer;  // ends with ByteLevel
  bool ignore_merges = false;
  bool add_bos_token = false;  // where tokenizer.ggml.add_bos_token does not say
};

/// What the tokenizer.json of the models behind `name` ("smollm", "llama-bpe") has. Throws
/// UnsupportedError naming it and listing the known ones; `path` is for the message.
PreTokenizer pre_tokenizer_named(std::string_view name, const std::filesystem::path& path);

}  // namespace shoehorn::gguf
