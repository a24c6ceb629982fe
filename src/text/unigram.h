// Unigram language model (Kudo 2018): the segmentation with the highest sum of scores.
#pragma once

#include <optional>

#include "text/byte_trie.h"
#include "text/model.h"

namespace shoehorn::text {

class UnigramModel : public TokenModel {
 public:
  /// Throws FormatError for an empty vocabulary or an unk_id outside of it.
  explicit UnigramModel(TokenizerFile& file);

  void tokenize(std::string_view piece, ModelScratch& scratch,
                std::vector<std::int32_t>& ids) const override;

 private:
  void find_best_path(std::string_view piece, ModelScratch& scratch) const;
  void push(std::string_view text, std::vector<std::int32_t>& ids) const;

  std::vector<double> scores_;
  std::optional<std::int32_t> unk_id_;
  bool byte_fallback_ = false;
  double unknown_score_ = 0;
  ByteTrie trie_;
};

}  // namespace shoehorn::text
