// Added tokens: found in the text before anything else happens to it, never cut or merged.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/byte_trie.h"
#include "text/code_point_set.h"
#include "text/normalizer.h"
#include "text/tokenizer_file.h"
#include "text/vocabulary.h"

namespace shoehorn::text {

/// Immutable, thread-safe.
class AddedTokens {
 public:
  /// Part of a text: an added token (id >= 0) with the white space that it swallows, or what lies
  /// between (id -1). Spans are not empty; those of tokens can overlap.
  struct Span {
    std::int32_t id;
    std::size_t begin;
    std::size_t end;
  };

  AddedTokens() = default;
  /// Ids are those of the vocabulary, else the next free ones in order of the file. `normalizer`
  /// may be null. Ids that differ from the file's are told in `warnings`.
  AddedTokens(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary,
              const Normalizer* normalizer, std::vector<std::string>& warnings);

  /// Takes `text` apart at the tokens that are looked for in raw text (normalized = false) or in
  /// normalized text. Special tokens stay text if `match_special` is false.
  void split(std::string_view text, bool normalized, bool match_special,
             std::vector<Span>& spans) const;

  std::optional<std::int32_t> find(std::string_view content) const;
  /// The text of an added token as the file has it, and as decoding gives it.
  const std::string* content(std::int32_t id) const;
  const std::string* decoded(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
  /// Whether some special token has this content.
  bool is_special_text(std::string_view content) const;
  /// Tokens that the model's vocabulary does not have.
  std::size_t new_tokens() const { return new_tokens_; }

 private:
  struct Entry {
    AddedToken token;
    std::string normalized_content;  // of tokens that are looked for in normalized text
  };

  bool accept(const Entry& entry, std::string_view text, std::size_t begin, std::size_t end,
              bool match_special) const;

  std::unordered_map<std::int32_t, Entry> by_id_;
  std::map<std::string, std::int32_t, std::less<>> by_content_;
  std::size_t new_tokens_ = 0;
  ByteTrie raw_trie_;
  ByteTrie normalized_trie_;
  CodePointBitmap words_{unicode::kWord};
};

}  // namespace shoehorn::text
