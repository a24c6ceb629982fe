// Tokenizer metadata of a GGUF file as the tokenizer.json and tokenizer_config.json of the model it
// was made from.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/gguf_metadata.h"

namespace shoehorn::gguf {

struct TokenizerFiles {
  std::string tokenizer_json;         // empty where the file has no vocabulary
  std::string tokenizer_config_json;  // likewise
  std::vector<std::string> notes;
};

/// tokenizer.ggml.model "gpt2": byte-level BPE with the file's merges, cut as tokenizer.ggml.pre
/// says. "llama": SentencePiece BPE with byte fallback; where there are no merges they follow from
/// the scores (gguf_merges.h). Control tokens become special added tokens, user-defined ones plain
/// added tokens, all of them matched in raw text. add_bos_token and add_eos_token become a
/// TemplateProcessing. A file that carries tokenizer.huggingface.json is taken at its word.
/// Throws FormatError naming key and token for what breaks the format (arrays of different lengths,
/// ids beyond the vocabulary, equal tokens, tokens that are not UTF-8), UnsupportedError for other
/// models and for unknown pre-tokenizers. Linear in the vocabulary.
TokenizerFiles tokenizer_files(const Metadata& metadata);

}  // namespace shoehorn::gguf
