// A tokenizer.json taken apart: the large lists (vocabulary, merges) in compact form, everything
// else as JsonValue trees. Nothing is interpreted yet.
#pragma once

#include <cstdint>
#include <future>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/json_reader.h"
#include "text/json_value.h"
#include "text/vocabulary.h"

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

/// Limits on what a file may hold; beyond them it is refused.
struct TokenizerLimits {
  static constexpr std::size_t kMaxFileBytes = 256U << 20;
  static constexpr std::size_t kMaxEntries = 4'000'000;
  static constexpr std::size_t kMaxTokenBytes = 64U << 10;
};

/// Borrows the text of the file.
class TokenizerFile {
 public:
  using String = JsonReader::String;
  struct Merge {
    String left;
    String right;
  };

  TokenizerFile(const TokenizerFile&) = delete;
  TokenizerFile& operator=(const TokenizerFile&) = delete;
  /// Throws FormatError (without a file name) if the text is not JSON, goes beyond the limits or
  /// has lists of another shape than a tokenizer's.
  explicit TokenizerFile(std::string_view json);

  JsonValue normalizer;
  JsonValue pre_tokenizer;
  JsonValue post_processor;
  JsonValue decoder;
  /// Without vocab and merges.
  JsonValue model;
  std::vector<AddedToken> added_tokens;

  /// In the order of the file.
  std::vector<Vocabulary::Listed> vocab;
  /// For a vocabulary that is a list: the score of each entry.
  std::vector<double> scores;
  bool vocab_is_list = false;
  std::vector<Merge> merges;
  bool has_merges = false;

  /// The characters of a token, valid UTF-8. The views live as long as this object and its text.
  std::string_view view(String string) const { return reader_.view(string); }
  std::string_view view(const Vocabulary::Listed& entry) const {
    return vocab_reader_.view(entry.token);
  }

  /// The tables of `vocab`; to be called once.
  Vocabulary take_vocabulary() { return std::move(vocabulary_); }

 private:
  void read();
  void read_version();
  void read_added_tokens();
  void read_model();
  void read_vocab();
  void finish_vocab();
  void read_vocab_object();
  void read_vocab_list(bool exact);
  void read_merges();
  Merge split_merge(String line);
  static String read_token(JsonReader& reader);
  [[noreturn]] void fail_merge(std::string_view expected) const;

  std::string_view text_;
  JsonReader reader_;
  JsonReader vocab_reader_;
  Vocabulary vocabulary_;
  std::future<void> vocab_is_read_;  // the last member: its end waits for the thread
};

}  // namespace shoehorn::text
