// Assigning ids, and the scan for the leftmost longest token.
#include "text/added_tokens.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/unicode_data.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr std::size_t kMaxPatternBytes = 32U << 20;

// Start of the white space that ends at `end`, not before `floor`.
std::size_t white_before(std::string_view text, std::size_t end, std::size_t floor) {
  while (end > floor) {
    const std::size_t previous = previous_character(text, end);
    std::size_t length;
    if (!is_white(decode_utf8(text.data() + previous, length))) break;
    end = previous;
  }
  return end;
}

// Finds where white space ends. Remembers the last run: in a text of nothing but white tokens each
// of them asks for the same one.
class WhiteRuns {
 public:
  explicit WhiteRuns(std::string_view text) : text_(text) {}
  std::size_t end_from(std::size_t begin) {
    if (begin >= begin_ && begin < end_) return end_;
    begin_ = begin;
    end_ = begin;
    std::size_t length;
    while (end_ < text_.size() && is_white(decode_utf8(text_.data() + end_, length))) {
      end_ += length;
    }
    return end_;
  }

 private:
  std::string_view text_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary,
                         const Normalizer* normalizer, std::vector<std::string>& warnings) {
  std::int64_t highest = -1;
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    std::int64_t id = static_cast<std::int64_t>(vocabulary.size());
    if (const auto known = find(token.content)) {
      id = *known;
    } else if (const auto in_vocabulary = vocabulary.find(token.content)) {
      id = *in_vocabulary;
    } else {
      if (highest >= id) id = highest + 1;
      ++new_tokens_;
    }
    if (id > std::numeric_limits<std::int32_t>::max()) {
      throw FormatError("added_tokens: ids above 2147483647 are not supported");
    }
    highest = std::max(highest, id);
    if (token.id >= 0 && token.id != id) {
      warnings.push_back(str_cat("added token \"", token.content, "\" gets id ", id,
                                 ", the file says ", token.id));
    }
    by_content_[token.content] = static_cast<std::int32_t>(id);
    by_id_[static_cast<std::int32_t>(id)] = {token, token.content};
  }

  for (auto& [id, entry] : by_id_) {
    if (!entry.token.normalized || normalizer == nullptr) continue;
    NormalizedText text;
    text.text = entry.token.content;
    normalizer->apply(text);
    entry.normalized_content = std::move(text.text);
  }

  // Backwards: of contents that normalization makes equal the first one in the file counts (in the
  // library, that is chance).
  std::vector<std::pair<std::string_view, std::int32_t>> raw;
  std::vector<std::pair<std::string_view, std::int32_t>> normalized;
  std::size_t bytes = 0;
  for (auto token = tokens.rbegin(); token != tokens.rend(); ++token) {
    if (token->content.empty()) continue;
    const std::int32_t id = by_content_.at(token->content);
    const Entry& entry = by_id_.at(id);
    bytes += entry.normalized_content.size();
    if (entry.normalized_content.empty()) continue;
    (entry.token.normalized ? normalized : raw).emplace_back(entry.normalized_content, id);
  }
  if (bytes > kMaxPatternBytes) throw FormatError("added_tokens: more than 32 MiB of text");
  raw_trie_ = ByteTrie(std::move(raw));
  normalized_trie_ = ByteTrie(std::move(normalized));
}

bool AddedTokens::accept(const Entry& entry, std::string_view text, std::size_t begin,
                         std::size_t end, bool match_special) const {
  if (!match_special && entry.token.special) return false;
  if (!entry.token.single_word) return true;
  std::size_t length;
  if (begin > 0 &&
      words_.contains(decode_utf8(text.data() + previous_character(text, begin), length))) {
    return false;
  }
  return end == text.size() || !words_.contains(decode_utf8(text.data() + end, length));
}

void AddedTokens::split(std::string_view text, bool normalized, bool match_special,
                        std::vector<Span>& spans) const {
  const ByteTrie& trie = normalized ? normalized_trie_ : raw_trie_;
  std::size_t done = 0;  // end of the last token, its white space included
  WhiteRuns white_runs(text);
  for (std::size_t at = 0; !trie.empty() && at < text.size();) {
    if (!trie.has_first(text[at])) {
      ++at;
      continue;
    }
    std::int32_t id = -1;
    std::size_t end = at;
    std::uint32_t node = ByteTrie::kRoot;
    for (std::size_t i = at; i < text.size();) {
      node = trie.child(node, text[i]);
      if (node == ByteTrie::kNone) break;
      ++i;
      if (trie.value(node) < 0) continue;
      id = trie.value(node);
      end = i;
    }
    if (id < 0) {
      ++at;
      continue;
    }
    const Entry& entry = by_id_.at(id);
    if (accept(entry, text, at, end, match_special)) {
      std::size_t begin = at;
      std::size_t stop = end;
      if (entry.token.lstrip) begin = std::max(white_before(text, begin, done), done);
      if (entry.token.rstrip) stop = white_runs.end_from(stop);
      if (done < begin) spans.push_back({-1, done, begin});
      // White space that an earlier token swallowed leaves nothing of a token that consists of it.
      if (begin < stop) spans.push_back({id, begin, stop});
      // Not the end of the swallowed white space: a token inside of it is found as well.
      done = stop;
    }
    at = end;
  }
  if (done < text.size()) spans.push_back({-1, done, text.size()});
}

std::optional<std::int32_t> AddedTokens::find(std::string_view content) const {
  const auto found = by_content_.find(content);
  if (found == by_content_.end()) return std::nullopt;
  return found->second;
}

const std::string* AddedTokens::content(std::int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second.token.content;
}

const std::string* AddedTokens::decoded(std::int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second.normalized_content;
}

bool AddedTokens::is_special_text(std::string_view text) const {
  const auto id = find(text);
  return id && is_special(*id);
}

bool AddedTokens::is_special(std::int32_t id) const {
  const auto found = by_id_.find(id);
  return found != by_id_.end() && found->second.token.special;
}

}  // namespace shoehorn::text
