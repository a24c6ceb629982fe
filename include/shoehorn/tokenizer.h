// Text to token ids and back, exactly as Hugging Face's tokenizers library executes a
// tokenizer.json. Start here; detokenizer.h decodes token by token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shoehorn {

struct EncodeOptions {
  /// Let the post-processor add what the model expects around a text (bos, [CLS], ...).
  bool add_special_tokens = true;
  /// Read special tokens written in the text as such; false for text that is not trusted.
  bool match_special_tokens = true;
};

struct Encoding {
  std::vector<std::int32_t> ids;
  /// Which sequence each id belongs to, as models with token_type_ids count; as long as ids.
  std::vector<std::int32_t> type_ids;
};

/// Immutable, thread-safe.
class Tokenizer {
 public:
  /// From the text of a tokenizer.json; `path` names it in errors. Throws FormatError for what
  /// breaks the format or goes beyond the limits of tokenizer_file.h, and UnsupportedError for
  /// components that are not known. `truncation` and `padding` are not applied.
  static Tokenizer from_json(std::string_view json, const std::filesystem::path& path);

  ~Tokenizer();
  Tokenizer(Tokenizer&& other) noexcept;
  Tokenizer& operator=(Tokenizer&& other) noexcept;

  /// Ids of a text. Bytes that are not UTF-8 count as U+FFFD, one for each maximal subpart. Throws
  /// ArgumentError for more than 1 GiB, UnsupportedError where a pattern of the file takes too many
  /// steps, FormatError where the text has unknown characters and the file no token for them.
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  /// Ids of two texts that belong together, like a question and a passage.
  Encoding encode_pair(std::string_view a, std::string_view b,
                       const EncodeOptions& options = {}) const;

  /// The text of `ids`, valid UTF-8. Ids that do not exist are left out.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = false) const;

  /// Number of tokens, added ones included. Ids can have holes: the highest may be larger.
  std::size_t vocab_size() const;
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  /// As written in the file, so a space may be a U+0120. Lives as long as the tokenizer.
  std::optional<std::string_view> id_to_token(std::int32_t id) const;
  bool is_special(std::int32_t id) const;

  /// What is odd about the file but no error, like added tokens whose ids differ from what it says.
  const std::vector<std::string>& warnings() const;

 private:
  friend class DetokenizerStream;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

/// The tokenizer of a model (as from_pretrained names it), of a folder with but a tokenizer.json or
/// vocabulary files (see docs/cli.md), or of such a file. Throws FileError, FormatError and others.
Tokenizer load_tokenizer(const std::string& model);

}  // namespace shoehorn
