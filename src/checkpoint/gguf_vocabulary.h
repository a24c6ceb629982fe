// The vocabulary of a GGUF file: tokens, their types and scores, and a way back from text to id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf_metadata.h"

namespace shoehorn::gguf {

/// tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

/// Text → id by open addressing over the tokens themselves: 8 bytes a token, no copies.
class TokenIndex {
 public:
  /// The tokens must outlive the index. `duplicate` holds the second of two equal tokens, if any.
  explicit TokenIndex(std::span<const std::string_view> tokens);

  std::optional<std::uint32_t> find(std::string_view text) const;
  std::optional<std::uint32_t> duplicate() const { return duplicate_; }

 private:
  std::size_t slot_of(std::string_view text) const;

  std::span<const std::string_view> tokens_;
  std::vector<std::uint32_t> slots_;  // id + 1; 0: free
  std::optional<std::uint32_t> duplicate_;
};

/// Views into `metadata`, which must outlive it.
struct Vocabulary {
  std::vector<std::string_view> tokens;  // by id
  std::vector<TokenType> types;          // as many as tokens; kNormal where the file has none
  std::vector<float> scores;             // as many as tokens, or none
  bool has_types = false;
  std::vector<std::string> placeholders;  // "[EMPTY_7]", what empty tokens are called; views of it
};

/// Reads and checks tokenizer.ggml.tokens, token_type and scores. Throws FormatError for arrays of
/// different lengths, more than four million tokens, tokens longer than 64 KiB or not UTF-8, and
/// scores that are not finite.
Vocabulary read_vocabulary(const Metadata& metadata);

}  // namespace shoehorn::gguf
