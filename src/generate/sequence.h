// One sequence while it is generated: what was said so far, how the next id is chosen from logits,
// the text of it, and when it ends. Knows nothing of a model.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shoehorn/generation.h"

#include "generate/generation_config.h"
#include "generate/token_constraint.h"

namespace shoehorn {

class Tokenizer;

/// `prompt_ids`, or the bos_token_id where there are none. Throws ArgumentError where there is
/// neither.
std::vector<std::int32_t> non_empty_prompt(std::span<const std::int32_t> prompt_ids,
                                           const GenerationConfig& config);

/// The seed of a generation: 0 where it is greedy, the config's, or a new one.
std::uint64_t generation_seed(const GenerationConfig& config);

/// log softmax of `logits` at `id`, and of the `count` likeliest tokens, the likeliest first.
TokenLogprob token_logprob(std::span<const float> logits, std::int32_t id, std::int64_t count);

/// Borrows the tokenizer. Not thread-safe.
class GeneratedSequence {
 public:
  /// `number`: which of the sequences of a generation this is; each has draws of its own.
  /// `constraint` may be null. Throws ArgumentError as non_empty_prompt, and for stop strings
  /// without a tokenizer.
  GeneratedSequence(const Tokenizer* tokenizer, std::span<const std::int32_t> prompt_ids,
                    const GenerationConfig& config, std::uint64_t seed, std::uint64_t number = 0,
                    std::unique_ptr<TokenConstraint> constraint = nullptr);
  ~GeneratedSequence();
  GeneratedSequence(GeneratedSequence&&) noexcept;

  /// Prompt and new ids.
  std::span<const std::int32_t> history() const { return history_; }
  std::span<const std::int32_t> new_ids() const {
    return std::span(history_).subspan(prompt_tokens_);
  }
  std::size_t prompt_tokens() const { return prompt_tokens_; }
  const std::vector<TokenLogprob>& logprobs() const { return logprobs_; }

  /// Nothing while it goes on.
  std::optional<FinishReason> finish_reason() const;
  /// Chooses the next id from the logits [vocab] after history(); the text that has become certain.
  /// Throws Error where the logits are no numbers or no token is allowed.
  std::string advance(std::span<const float> logits);
  /// True if advance() always chooses the id of the largest logit, and needs the logits for nothing
  /// else; then advance_likeliest() takes that id itself.
  bool takes_likeliest() const;
  std::string advance_likeliest(std::int32_t id);
  /// The text that was still held back; once, at the end.
  std::string finish_text();

 private:
  class Chooser;
  class TextStream;

  bool is_eos(std::int32_t id) const;
  std::string push(std::int32_t id);

  GenerationConfig config_;
  std::vector<std::int32_t> history_;
  std::size_t prompt_tokens_;
  std::unique_ptr<Chooser> chooser_;
  std::unique_ptr<TextStream> text_;  // null without a tokenizer
  std::vector<TokenLogprob> logprobs_;
};

}  // namespace shoehorn
