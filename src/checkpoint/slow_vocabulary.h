// The vocabulary files of tokenizers that have no tokenizer.json: vocab.json with merges.txt
// (byte-level BPE), vocab.txt (WordPiece), and the pieces of a SentencePiece model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace shoehorn {

/// Tokens with their ids, and what joins them. Views live as long as it.
class SlowVocabulary {
 public:
  static constexpr std::size_t kMaxFileBytes = std::size_t{256} << 20;
  static constexpr std::size_t kMaxTokens = 4'000'000;
  static constexpr std::size_t kMaxTokenBytes = std::size_t{64} << 10;

  /// A JSON object token → id, and lines "left right" ('#version' lines and empty ones are
  /// skipped). Throws FileError and FormatError.
  static SlowVocabulary from_bpe_files(const std::filesystem::path& vocab,
                                       const std::filesystem::path& merges);
  /// A token a line; white space at the end of a line does not belong to it.
  static SlowVocabulary from_lines(const std::filesystem::path& vocab);
  /// Texts that outlive it, by id.
  static SlowVocabulary from_list(std::vector<std::string_view> tokens);

  /// Of equal tokens the last one's id.
  std::optional<std::int32_t> find(std::string_view token) const;
  /// Different tokens.
  std::size_t size() const { return ids_.size(); }
  const std::vector<std::pair<std::string_view, std::int32_t>>& entries() const { return entries_; }

  std::vector<std::pair<std::string_view, std::string_view>> merges;
  /// For Unigram, as many as entries.
  std::vector<double> scores;

  /// Appends `"vocab":...`, a list with scores where there are scores.
  void append_vocab(std::string& out) const;
  /// Appends `"merges":[...]`.
  void append_merges(std::string& out) const;

 private:
  void add(std::string_view token, std::int32_t id, const std::filesystem::path& path);

  std::vector<std::pair<std::string_view, std::int32_t>> entries_;
  std::unordered_map<std::string_view, std::int32_t> ids_;
  std::vector<std::shared_ptr<const void>> owners_;  // of the texts; shared with nobody else
};

}  // namespace shoehorn
