// Decoding while tokens arrive: text is handed out as soon as no later token can change it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "shoehorn/tokenizer.h"

namespace shoehorn {

/// What counts as a special token that is to be skipped.
enum class SkipRule {
  /// Its id, as in Tokenizer::decode.
  kById,
  /// Its text, as in the tokenizers library: a special token that the normalizer changes (<s> with
  /// a
  /// Prepend normalizer) is not recognised and stays. For comparisons with that library.
  kByText
};

/// One stream of tokens. All that push() and flush() return, joined, is what Tokenizer::decode
/// gives for the same ids (with SkipRule::kById). Borrows the tokenizer; thread-compatible.
class DetokenizerStream {
 public:
  DetokenizerStream(const Tokenizer& tokenizer, bool skip_special_tokens,
                    SkipRule rule = SkipRule::kById);
  ~DetokenizerStream();
  DetokenizerStream(DetokenizerStream&& other) noexcept;
  DetokenizerStream& operator=(DetokenizerStream&& other) noexcept;

  /// Takes the next id and returns the text that has become certain, valid UTF-8 and often empty.
  std::string push(std::int32_t id);
  /// Ends the stream and returns what was held back. Nothing may be pushed afterwards.
  std::string flush();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoehorn
