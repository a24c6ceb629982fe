// Which model a file holds.
#include "text/model.h"

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/bpe.h"
#include "text/unigram.h"
#include "text/word_models.h"

namespace shoehorn::text {

std::unique_ptr<const TokenModel> make_token_model(TokenizerFile& file) {
  if (file.vocab.empty()) throw FormatError("model.vocab: missing or empty");
  std::string type = file.model.string_or("type", "");
  if (type.empty()) {  // files older than the field
    if (file.has_merges) {
      type = "BPE";
    } else if (file.vocab_is_list) {
      type = "Unigram";
    } else {
      type = file.model.has("continuing_subword_prefix") ? "WordPiece" : "WordLevel";
    }
  }
  if (type == "BPE") return std::make_unique<BpeModel>(file);
  if (type == "Unigram") return std::make_unique<UnigramModel>(file);
  if (type == "WordPiece") return std::make_unique<WordPieceModel>(file);
  if (type == "WordLevel") return std::make_unique<WordLevelModel>(file);
  file.model.unsupported(
      str_cat("unknown type \"", type, "\"; known are BPE, Unigram, WordPiece and WordLevel"));
}

}  // namespace shoehorn::text
