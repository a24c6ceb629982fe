// Viterbi search over the bytes of a piece.
#include "text/unigram.h"

#include <algorithm>
#include <array>
#include <limits>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr double kUnknownPenalty = 10;  // SentencePiece's
constexpr std::size_t kMaxTrieBytes = 64U << 20;
constexpr double kUnreached = -std::numeric_limits<double>::infinity();

}  // namespace

UnigramModel::UnigramModel(TokenizerFile& file)
    : TokenModel(file), byte_fallback_(file.model.bool_or("byte_fallback", false)) {
  if (!file.vocab_is_list) throw FormatError("model.vocab: Unigram needs a list of [token, score]");
  if (file.vocab.empty()) throw FormatError("model.vocab: empty");
  const JsonValue& unk = file.model.get("unk_id");
  if (!unk.is_null()) {
    const std::int64_t id = unk.as_integer();
    if (id < 0 || id >= static_cast<std::int64_t>(file.vocab.size())) {
      unk.fail(str_cat(id, " is not below the number of tokens, ", file.vocab.size()));
    }
    unk_id_ = static_cast<std::int32_t>(id);
  }
  std::vector<std::pair<std::string_view, std::int32_t>> entries;
  std::size_t bytes = 0;
  for (const auto& entry : file.vocab) {
    const std::string_view token = file.view(entry);
    bytes += token.size();
    if (!token.empty()) entries.emplace_back(token, entry.id);
  }
  scores_ = file.scores;
  const double least = *std::min_element(scores_.begin(), scores_.end());
  if (bytes > kMaxTrieBytes) throw FormatError("model.vocab: more than 64 MiB of tokens");
  unknown_score_ = least - kUnknownPenalty;
  trie_ = ByteTrie(std::move(entries));
}

void UnigramModel::find_best_path(std::string_view piece, ModelScratch& scratch) const {
  auto& steps = scratch.steps;  // [bytes + 1]: the best way to get up to each byte
  steps.assign(piece.size() + 1, {kUnreached, 0, -1});
  steps[0].score = 0;
  for (std::size_t begin = 0; begin < piece.size();) {
    const double base = steps[begin].score;
    const std::size_t character = sequence_length(piece[begin]);
    bool known_character = false;
    std::uint32_t node = ByteTrie::kRoot;
    for (std::size_t end = begin; end < piece.size();) {
      node = trie_.child(node, piece[end]);
      if (node == ByteTrie::kNone) break;
      ++end;
      const std::int32_t id = trie_.value(node);
      if (id < 0) continue;
      const double score = base + scores_[static_cast<std::size_t>(id)];
      if (score > steps[end].score) {
        steps[end] = {score, static_cast<std::uint32_t>(begin), id};
      }
      known_character |= end - begin == character;
    }
    if (!known_character) {
      auto& step = steps[begin + character];
      const double score = base + unknown_score_;
      if (score > step.score) {
        step = {score, static_cast<std::uint32_t>(begin), -1};
      }
    }
    begin += character;
  }
}

void UnigramModel::tokenize(std::string_view piece, ModelScratch& scratch,
                            std::vector<std::int32_t>& ids) const {
  find_best_path(piece, scratch);
  // Backwards over the path; unknown neighbours become one piece, and the unknown token's own name
  // counts as unknown. Then forwards again.
  const auto is_unknown = [&](std::size_t end) {
    const std::int32_t id = scratch.steps[end].id;
    return id < 0 || id == unk_id_;
  };
  std::vector<std::pair<std::size_t, std::size_t>> pieces;
  for (std::size_t end = piece.size(); end > 0;) {
    std::size_t begin = scratch.steps[end].begin;
    if (is_unknown(end)) {
      while (begin > 0 && is_unknown(begin)) begin = scratch.steps[begin].begin;
    }
    pieces.emplace_back(begin, end);
    end = begin;
  }
  for (auto at = pieces.rbegin(); at != pieces.rend(); ++at) {
    push(piece.substr(at->first, at->second - at->first), ids);
  }
}

void UnigramModel::push(std::string_view text, std::vector<std::int32_t>& ids) const {
  if (const auto id = vocabulary().find(text)) {
    ids.push_back(*id);
    return;
  }
  if (byte_fallback_) {
    const std::size_t before = ids.size();
    for (const char c : text) {
      constexpr char kDigits[] = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      const std::array<char, 6> token = {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15],
                                         '>'};
      const auto id = vocabulary().find({token.data(), token.size()});
      if (!id) break;
      ids.push_back(*id);
    }
    if (ids.size() == before + text.size()) return;
    ids.resize(before);
  }
  if (!unk_id_) throw FormatError("model.unk_id is missing, and the text has unknown characters");
  ids.push_back(*unk_id_);
}

}  // namespace shoehorn::text
