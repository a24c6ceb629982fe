// Which of transformers' tokenizer classes a folder without a tokenizer.json means, and what each
// of them makes of its vocabulary.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/tokenizer_settings.h"

namespace shoehorn {

enum class TokenizerKind {
  kByteLevelBpe,   // vocab.json and merges.txt
  kWordPiece,      // vocab.txt
  kSentencePiece,  // tokenizer.model
};

enum class TokenizerClassName {
  kGpt2,
  kCodeGen,
  kGptNeoX,
  kQwen2,
  kQwen35,
  kRoberta,
  kCohere,
  kBert,
  kLlama,
  kCodeLlama,
  kGemma,
  kT5,
  kXlmRoberta,
  kGeneric,  // TokenizersBackend: what the SentencePiece model itself says
};

struct TokenizerClass {
  TokenizerClassName name;
  TokenizerKind kind;
  /// Default names of its special tokens, in the order of TokenizerSettings::kNames; empty: none.
  std::string_view tokens[7];
};

/// The class that transformers 5 picks by tokenizer_class and model_type. Throws UnsupportedError
/// for one that is not known here, which names those that are.
const TokenizerClass& tokenizer_class_of(const TokenizerSettings& settings);

}  // namespace shoehorn
