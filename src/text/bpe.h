// Byte pair encoding (Sennrich et al. 2016) in the variants of tokenizer.json: byte-level
// vocabularies, SentencePiece-style ones with byte fallback, prefixes and suffixes inside and at
// the end of words.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "text/merge_table.h"
#include "text/model.h"

namespace shoehorn::text {

class BpeModel : public TokenModel {
 public:
  /// Throws FormatError for merges that name unknown tokens.
  explicit BpeModel(TokenizerFile& file);

  void tokenize(std::string_view piece, ModelScratch& scratch,
                std::vector<std::int32_t>& ids) const override;

  /// Cuts before a U+2581 (the space of SentencePiece) that no merge can join to what precedes it.
  std::size_t independent_prefix(std::string_view piece) const override;

 private:
  void find_cuts(const TokenizerFile& file);

  void split(std::string_view piece, ModelScratch& scratch) const;
  std::optional<std::int32_t> find_symbol(std::string_view character, bool first, bool last,
                                          std::string& text) const;
  bool push_bytes(std::string_view text, ModelScratch& scratch) const;
  void link(ModelScratch::Symbol& left, const ModelScratch::Symbol& right) const;
  void merge_short(std::vector<ModelScratch::Symbol>& symbols) const;
  void merge_long(ModelScratch& scratch) const;

  std::string prefix_;
  std::string suffix_;
  std::optional<std::int32_t> unk_id_;
  bool unk_is_named_ = false;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  bool plain_symbols_ = false;  // neither prefix nor suffix
  std::array<std::int32_t, 128> ascii_ids_{};
  std::array<std::int32_t, 256> byte_ids_{};
  MergeTable merges_;
  bool can_cut_ = false;
  std::set<std::string, std::less<>> joins_to_space_;  // characters found before U+2581 in a token
};

}  // namespace shoehorn::text
