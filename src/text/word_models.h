// The models for text that is already cut into words: WordPiece (BERT) and WordLevel.
#pragma once

#include <optional>
#include <string>

#include "text/model.h"

namespace shoehorn::text {

/// The longest token from the left, again and again; a word with a part that is no token is
/// unknown.
class WordPieceModel : public TokenModel {
 public:
  explicit WordPieceModel(TokenizerFile& file);
  void tokenize(std::string_view piece, ModelScratch& scratch,
                std::vector<std::int32_t>& ids) const override;

 private:
  std::string unk_token_;
  std::optional<std::int32_t> unk_id_;
  std::string prefix_;
  std::size_t max_characters_ = 100;
  std::size_t longest_token_ = 0;
};

/// A token a word.
class WordLevelModel : public TokenModel {
 public:
  explicit WordLevelModel(TokenizerFile& file);
  void tokenize(std::string_view piece, ModelScratch& scratch,
                std::vector<std::int32_t>& ids) const override;

 private:
  std::string unk_token_;
  std::optional<std::int32_t> unk_id_;
};

}  // namespace shoehorn::text
