// A tokenizer on its way from vocabulary files to a tokenizer.json.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/sentencepiece_model.h"
#include "checkpoint/slow_vocabulary.h"
#include "checkpoint/tokenizer_class.h"
#include "checkpoint/tokenizer_settings.h"

namespace shoehorn {

/// U+2581, SentencePiece's space.
inline constexpr std::string_view kSpacePiece = "\xE2\x96\x81";

struct SlowTokenizer {
  using Json = nlohmann::ordered_json;

  std::string model_bytes;  // of a SentencePiece model, which the next two borrow
  sentencepiece::Model sentencepiece;
  std::vector<std::string> owned;  // tokens that no file holds
  SlowVocabulary vocabulary;
  Json normalizer;
  Json pre_tokenizer;
  Json decoder;
  Json model;  // without vocabulary and merges

  /// bos, eos, unk, sep, pad, cls, mask, as TokenizerSettings::kNames.
  std::optional<ConfiguredToken> named[7];
  /// Beside those and the files' own: nothing where the files say.
  std::vector<ConfiguredToken> extra;
  /// In the order in which they get their ids.
  std::vector<ConfiguredToken> added;

  const std::optional<ConfiguredToken>& bos() const { return named[0]; }
  const std::optional<ConfiguredToken>& eos() const { return named[1]; }
  const std::optional<ConfiguredToken>& unk() const { return named[2]; }
  const std::optional<ConfiguredToken>& sep() const { return named[3]; }
  const std::optional<ConfiguredToken>& cls() const { return named[5]; }
};

/// A normalizer, pre-tokenizer or decoder that runs several.
inline nlohmann::ordered_json sequence_of(const char* key, nlohmann::ordered_json parts) {
  return {{"type", "Sequence"}, {key, std::move(parts)}};
}

nlohmann::ordered_json replace_text(std::string_view from, std::string_view to);
nlohmann::ordered_json replace_regex(std::string_view from, std::string_view to);
nlohmann::ordered_json metaspace(std::string_view prepend_scheme, bool split);

/// Fills vocabulary and parts for a SentencePiece model. `extra` gets the tokens that the model
/// marks as control or user-defined. Throws UnsupportedError for models of words or characters.
void convert_sentencepiece(const sentencepiece::Model& model, const TokenizerSettings& settings,
                           const TokenizerClass& tokenizer_class, SlowTokenizer& out);
/// The same for a vocabulary that is there already.
void convert_byte_level(const TokenizerSettings& settings, const TokenizerClass& tokenizer_class,
                        SlowTokenizer& out);
void convert_word_piece(const TokenizerSettings& settings, SlowTokenizer& out);

}  // namespace shoehorn
