// The token loop, a step at a time: from a prompt's ids to new ids and, piece by piece, to text. It
// mirrors transformers' generate for one sequence; the model behind it is anything that gives
// logits.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shoehorn/generation.h"

#include "generate/generation_config.h"
#include "generate/sequence.h"

namespace shoehorn {

class Tokenizer;

/// What the loop needs of a model: next-token logits for the ids given so far.
class LogitsSource {
 public:
  virtual ~LogitsSource();
  /// Takes the prompt, not empty; the logits [vocab] after its last id, valid until the next call.
  virtual std::span<const float> prefill(std::span<const std::int32_t> ids) = 0;
  /// Takes one more id; the logits [vocab] after it, valid until the next call.
  virtual std::span<const float> next(std::int32_t id) = 0;
  /// In place of either: takes ids and gives the id of the largest logit after them, the lowest
  /// where several are, for a source that finds it without giving logits away. Nothing, and nothing
  /// was taken: the source gives logits.
  virtual std::optional<std::int32_t> likeliest(std::span<const std::int32_t> /*ids*/) {
    return std::nullopt;
  }
};

/// What a loop has made so far.
struct TokenLoopResult {
  /// New ids, without the prompt; an ending eos token and those of a stop string included, as
  /// transformers returns them.
  std::vector<std::int32_t> ids;
  /// All pieces: without the text of special tokens (unless asked for), of an ending eos token, and
  /// of the stop string.
  std::string text;
  FinishReason finish_reason = FinishReason::kLength;
  std::uint64_t seed = 0;  ///< what the draws were made with; 0 for greedy choices

  std::int64_t prompt_tokens = 0;
  double ttft_s = 0;     ///< from the construction to the first id chosen
  double prefill_s = 0;  ///< of that, within LogitsSource::prefill
  double decode_s = 0;   ///< from the first id to the last: ids.size() - 1 steps

  /// Prompt tokens per second of prefill; 0 where there was none.
  double prefill_tok_s() const;
  /// Steps after the first id per second; 0 where there was none.
  double decode_tok_s() const;
};

/// Makes up to config.max_new_tokens ids after a prompt; greedy unless config.do_sample. Borrows
/// the source and the tokenizer. Not thread-safe, but for cancel().
class TokenLoop {
 public:
  /// An empty prompt is config.bos_token_id. `tokenizer` may be null: ids only. Throws
  /// ArgumentError for an empty prompt without a bos_token_id and for stop strings without a
  /// tokenizer.
  TokenLoop(LogitsSource& source, const Tokenizer* tokenizer,
            std::span<const std::int32_t> prompt_ids, const GenerationConfig& config,
            std::unique_ptr<TokenConstraint> constraint = nullptr);
  TokenLoop(const TokenLoop&) = delete;
  TokenLoop& operator=(const TokenLoop&) = delete;

  /// Makes one id; false once there is none to make. `piece` gets the text that has become certain,
  /// whole UTF-8 characters, often none; the last call, which returns false, brings what was still
  /// held back. Throws Error where the logits are no numbers, and whatever the source throws.
  bool step(std::string& piece);

  /// Ends the loop before its next step. Lock-free: may be called from a signal handler.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  const TokenLoopResult& result() const { return result_; }
  /// Of result().ids, where the config asks for them.
  const std::vector<TokenLogprob>& logprobs() const { return sequence_->logprobs(); }

 private:
  std::optional<FinishReason> reason_to_end() const;

  using Clock = std::chrono::steady_clock;

  LogitsSource& source_;
  std::unique_ptr<GeneratedSequence> sequence_;
  std::atomic<bool> cancelled_{false};
  bool finished_ = false;
  Clock::time_point start_;
  Clock::time_point first_id_at_;
  TokenLoopResult result_;
};

}  // namespace shoehorn
