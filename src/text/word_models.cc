// WordPiece and WordLevel.
#include "text/word_models.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

[[noreturn]] void fail_unknown(const std::string& unk_token) {
  throw FormatError(str_cat("model.unk_token: \"", unk_token, "\" is not in the vocabulary"));
}

void require_object(const TokenizerFile& file) {
  if (file.vocab_is_list) throw FormatError("model.vocab: expected an object, found a list");
}

}  // namespace

WordPieceModel::WordPieceModel(TokenizerFile& file)
    : TokenModel(file),
      unk_token_(file.model.string_or("unk_token", "[UNK]")),
      unk_id_(vocabulary().find(unk_token_)),
      prefix_(file.model.string_or("continuing_subword_prefix", "##")) {
  require_object(file);
  if (file.model.has("max_input_chars_per_word")) {
    const std::int64_t max = file.model.get("max_input_chars_per_word").as_integer();
    if (max < 0) file.model.get("max_input_chars_per_word").fail("a negative number");
    max_characters_ = static_cast<std::size_t>(max);
  }
  for (const auto& entry : file.vocab) {
    longest_token_ = std::max<std::size_t>(longest_token_, entry.token.length);
  }
}

void WordPieceModel::tokenize(std::string_view piece, ModelScratch& scratch,
                              std::vector<std::int32_t>& ids) const {
  const std::size_t before = ids.size();
  const auto unknown = [&] {
    if (!unk_id_) fail_unknown(unk_token_);
    ids.resize(before);
    ids.push_back(*unk_id_);
  };
  if (count_characters(piece) > max_characters_) return unknown();
  std::string& token = scratch.text;
  for (std::size_t begin = 0; begin < piece.size();) {
    std::size_t end = std::min(piece.size(), begin + longest_token_);
    while (end < piece.size() && end > begin && is_continuation(piece[end])) --end;
    std::optional<std::int32_t> id;
    for (; end > begin; end = previous_character(piece, end)) {
      if (begin == 0) {
        token.assign(piece.substr(0, end));
      } else {
        token.assign(prefix_).append(piece.substr(begin, end - begin));
      }
      id = vocabulary().find(token);
      if (id) break;
    }
    if (!id) return unknown();
    ids.push_back(*id);
    begin = end;
  }
}

WordLevelModel::WordLevelModel(TokenizerFile& file)
    : TokenModel(file),
      unk_token_(file.model.string_or("unk_token", "<unk>")),
      unk_id_(vocabulary().find(unk_token_)) {
  require_object(file);
}

void WordLevelModel::tokenize(std::string_view piece, ModelScratch&,
                              std::vector<std::int32_t>& ids) const {
  const auto id = vocabulary().find(piece);
  if (!id && !unk_id_) fail_unknown(unk_token_);
  ids.push_back(id ? *id : *unk_id_);
}

}  // namespace shoehorn::text
