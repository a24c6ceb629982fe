#include "checkpoint/gguf_merges.h"

#include <algorithm>
#include <cassert>
#include <numeric>

#include "shoehorn/error.h"

namespace shoehorn::gguf {
namespace {

constexpr std::size_t kMaxMergedBytes = 512;
constexpr std::size_t kMaxTextRatio = 64;
constexpr std::size_t kFreeText = 1 << 20;

bool takes_part(TokenType type) {
  return type == TokenType::kNormal || type == TokenType::kUserDefined ||
         type == TokenType::kUnused || type == TokenType::kUndefined;
}

bool is_result(const Vocabulary& vocabulary, std::uint32_t id) {
  return takes_part(vocabulary.types[id]) && vocabulary.tokens[id].size() <= kMaxMergedBytes;
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

}  // namespace

std::vector<Merge> merges_from_scores(const Vocabulary& vocabulary, const TokenIndex& index,
                                      const std::filesystem::path& path) {
  assert(vocabulary.scores.size() == vocabulary.tokens.size());
  std::vector<std::uint32_t> by_score(vocabulary.tokens.size());
  std::iota(by_score.begin(), by_score.end(), 0U);
  std::stable_sort(by_score.begin(), by_score.end(), [&](std::uint32_t a, std::uint32_t b) {
    return vocabulary.scores[a] > vocabulary.scores[b];
  });
  std::size_t room = kFreeText;
  for (const std::string_view token : vocabulary.tokens) room += kMaxTextRatio * token.size();
  std::vector<Merge> merges;
  for (const std::uint32_t id : by_score) {
    if (!is_result(vocabulary, id)) continue;
    const std::string_view token = vocabulary.tokens[id];
    const std::size_t first = merges.size();
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      if (is_continuation(token[cut])) continue;
      const auto left = index.find(token.substr(0, cut));
      if (!left || !takes_part(vocabulary.types[*left])) continue;
      const auto right = index.find(token.substr(cut));
      if (!right || !takes_part(vocabulary.types[*right])) continue;
      merges.push_back({*left, *right});
    }
    const std::size_t text = (merges.size() - first) * token.size();
    if (text > room) {
      throw FormatError(path, "tokenizer.ggml.tokens: the tokens split into one another too often");
    }
    room -= text;
    std::sort(merges.begin() + static_cast<std::ptrdiff_t>(first), merges.end(),
              [](const Merge& a, const Merge& b) {
                return a.left != b.left ? a.left < b.left : a.right < b.right;
              });
  }
  return merges;
}

}  // namespace shoehorn::gguf
