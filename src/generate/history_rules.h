// Rules that turn tokens away by what came before: transformers' no_repeat_ngram_size, the prompt's
// encoder_no_repeat_ngram_size, bad_words_ids, min_length, min_new_tokens, forced and suppressed
// tokens, with its boundaries. They act on greedy choices and beams as on draws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "generate/generation_config.h"

namespace shoehorn {

/// Immutable, thread-safe.
class HistoryRules {
 public:
  /// `prompt_tokens`: how much of every history is prompt.
  HistoryRules(const GenerationConfig& config, std::size_t prompt_tokens);

  /// Whether there is any rule at all.
  bool any() const { return any_; }

  /// Sets the logits [vocab] of tokens that may not follow `history` (prompt and what was made) to
  /// -inf, in transformers' order: no_repeat_ngram_size, encoder_no_repeat_ngram_size,
  /// bad_words_ids, min_length, min_new_tokens, forced_bos_token_id, forced_eos_token_id,
  /// remove_invalid_values, exponential_decay_length_penalty, suppress_tokens,
  /// begin_suppress_tokens. A forced token gets 0 and all others -inf; of invalid values NaN
  /// becomes 0 and an infinity the largest float of its sign. Ids outside the vocabulary are passed
  /// over.
  void apply(std::span<const std::int32_t> history, std::span<float> logits) const;

 private:
  void forbid_bad_words(std::span<const std::int32_t> history, std::span<float> logits) const;
  void favour_ends(std::size_t length, std::span<float> logits) const;

  std::size_t prompt_tokens_;
  std::size_t no_repeat_ngram_size_;
  std::size_t encoder_no_repeat_ngram_size_;
  std::vector<std::vector<std::int32_t>> bad_words_ids_;  // without those that are an eos token
  std::size_t min_length_;                                // prompt included; 0: none
  std::size_t max_length_;                                // likewise
  std::vector<std::int32_t> eos_token_id_;
  std::size_t decay_length_ = 0;  // of a history after which ends become likelier
  double decay_factor_ = 1;
  std::vector<std::int32_t> forced_bos_;
  std::vector<std::int32_t> forced_eos_;
  bool remove_invalid_values_;
  std::vector<std::int32_t> suppress_tokens_;
  std::vector<std::int32_t> begin_suppress_tokens_;
  std::size_t begin_length_;  // of the history before the token that begin_suppress_tokens is about
  bool any_;
};

}  // namespace shoehorn
