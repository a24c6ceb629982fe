// A tokenizer.json taken apart: the large lists (vocabulary, merges) as views, everything else as
// JsonValue trees. Nothing is interpreted yet.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/json_value.h"

namespace shoehorn::text {

/// One entry of `added_tokens`.
struct AddedToken {
  std::string content;
  std::int64_t id = -1;  // as the file says; what is used may differ
  bool special = false;
  bool normalized = false;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
};

struct VocabEntry {
  std::string_view token;
  std::int32_t id = 0;
  double score = 0;  // Unigram only
};

/// Limits on what a file may hold; beyond them it is refused.
struct TokenizerLimits {
  static constexpr std::size_t kMaxFileBytes = 256U << 20;
  static constexpr std::size_t kMaxDepth = 32;
  static constexpr std::size_t kMaxEntries = 4'000'000;
  static constexpr std::size_t kMaxTokenBytes = 64U << 10;
};

class TokenizerFile {
 public:
  /// Throws FormatError (without a file name) if the text is not JSON, goes beyond the limits or
  /// has lists of another shape than a tokenizer's.
  explicit TokenizerFile(std::string_view json);
  ~TokenizerFile();

  JsonValue normalizer;
  JsonValue pre_tokenizer;
  JsonValue post_processor;
  JsonValue decoder;
  /// Without vocab and merges.
  JsonValue model;
  std::vector<AddedToken> added_tokens;

  /// The views live as long as this object. In the order of the file.
  std::vector<VocabEntry> vocab;
  bool vocab_is_list = false;
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  bool has_merges = false;

 private:
  class Reader;
  struct Document;
  std::unique_ptr<Document> document_;
};

}  // namespace shoehorn::text
