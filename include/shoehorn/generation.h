// Text as it is generated, and what a run took.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shoehorn {

class Model;

/// A group of weights (a layer, the head) in the passes of a run.
struct GroupUse {
  std::string group;         ///< "model.layers.3"
  std::uint64_t passes = 0;  ///< that took it
  double wait_s = 0;         ///< of all of them, for its weights to come
  double busy_s = 0;         ///< of all of them, computing with it on the CPU
};

/// What a run did and took.
struct RunStats {
  double load_s = 0;
  double ttft_s = 0;  // from the call to the first token
  double prefill_tok_s = 0;
  double decode_tok_s = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  // of these, that the session held already
  std::int64_t new_tokens = 0;
  std::uint64_t disk_bytes = 0;            // read from the checkpoint while running
  double disk_bytes_per_token = 0;         // of decoding
  double disk_wait_s = 0;                  // computing waited for the drive
  std::uint64_t weight_bytes = 0;          // read by one pass, wherever they live
  std::uint64_t predicted_peak_bytes = 0;  // resident memory of the process
  std::uint64_t measured_peak_bytes = 0;
  std::vector<GroupUse> groups = {};  // of the passes after the prompt
  // Of speculation:
  bool speculates = false;
  std::int64_t drafted = 0;               // ids guessed and checked
  std::int64_t accepted = 0;              // of them right
  std::int64_t checking_passes = 0;       // over the weights, that checked guesses
  bool speculation_switched_off = false;  // it cost more than it gained
};

/// How likely a token was.
struct TokenLogprob {
  std::int32_t id = 0;
  double logprob = 0;  ///< natural logarithm, in the model's own distribution
  std::vector<std::pair<std::int32_t, double>> top = {};  ///< the likeliest tokens, likeliest first
};

enum class FinishReason {
  kLength,      ///< max_new_tokens were made
  kEos,         ///< the last id is an eos_token_id
  kStopString,  ///< a stop string appeared
  kGrammar,     ///< the grammar is complete, and nothing can follow
  kCancelled,   ///< the caller asked to stop
};
/// "length", "eos", "stop_string", "grammar", "cancelled".
std::string_view to_string(FinishReason reason);

/// One continuation of a prompt.
struct Completion {
  std::size_t prompt = 0;         ///< which of the prompts
  std::vector<std::int32_t> ids;  ///< new ones, an end token too
  std::string text;               ///< empty where there is no tokenizer
  FinishReason finish_reason = FinishReason::kLength;
  double score = 0;  ///< of beam search: the sum of log-probabilities over length^length_penalty
  std::vector<TokenLogprob> logprobs = {};  ///< of ids, where they were asked for
};

/// How many sequences a prompt takes: the beams of a search, or those drawn side by side.
struct SearchWidth {
  std::int64_t num_beams = 1;
  std::int64_t num_return_sequences = 1;

  bool is_one() const { return num_beams == 1 && num_return_sequences == 1; }
};

/// A prompt of many: see Model::complete_each.
struct BatchPrompt {
  std::vector<std::int32_t> ids;
  std::optional<std::int64_t> max_new_tokens = {};  ///< in place of the options'
};

/// Text as it is generated: a range of pieces, each a whole number of UTF-8 characters. Runs one
/// step of the model when it is advanced. Borrows its Model. Not thread-safe, but for cancel().
class Generation {
 public:
  ~Generation();
  Generation(Generation&&) noexcept;
  Generation& operator=(Generation&&) noexcept;

  /// The next piece of text, never empty; false once there is none.
  bool next(std::string& piece);
  /// Ends the generation within a layer's time, also in a long prompt. Safe from another thread or
  /// a signal.
  void cancel();

  /// What was generated so far: ids (the end token too), text, why it ended.
  const std::vector<std::int32_t>& ids() const;
  const std::string& text() const;
  const std::vector<TokenLogprob>& logprobs() const;
  FinishReason finish_reason() const;
  RunStats stats() const;
  /// What a user should know: why speculation that was asked for is not done.
  const std::vector<std::string>& notes() const;

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::string*;
    using reference = const std::string&;

    Iterator() = default;
    explicit Iterator(Generation* generation) : generation_(generation) { ++*this; }
    reference operator*() const { return piece_; }
    Iterator& operator++() {
      if (!generation_->next(piece_)) generation_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& a, const Iterator& b) {
      return a.generation_ == b.generation_;
    }

   private:
    Generation* generation_ = nullptr;
    std::string piece_;
  };
  Iterator begin() { return Iterator(this); }
  Iterator end() { return {}; }

 private:
  friend class Model;
  struct Impl;
  explicit Generation(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoehorn
