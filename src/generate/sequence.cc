#include "generate/sequence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <utility>

#include "shoehorn/detokenizer.h"
#include "shoehorn/error.h"
#include "shoehorn/tokenizer.h"

#include "generate/logits_processor.h"
#include "generate/sampler.h"
#include "generate/stop_strings.h"

namespace shoehorn {

std::vector<std::int32_t> non_empty_prompt(std::span<const std::int32_t> prompt_ids,
                                           const GenerationConfig& config) {
  if (!prompt_ids.empty()) return {prompt_ids.begin(), prompt_ids.end()};
  if (config.bos_token_id) return {*config.bos_token_id};
  throw ArgumentError(
      "the prompt has no tokens, and the model names no bos_token_id to begin with");
}

std::uint64_t generation_seed(const GenerationConfig& config) {
  if (!config.do_sample) return 0;
  if (config.seed) return *config.seed;
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

TokenLogprob token_logprob(std::span<const float> logits, std::int32_t id, std::int64_t count) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) largest = std::max(largest, logit);  // not for NaN
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - largest));
  const double log_sum = std::log(sum);
  const auto logprob_of = [&](std::int32_t token) {
    return static_cast<double>(logits[static_cast<std::size_t>(token)] - largest) - log_sum;
  };
  TokenLogprob result{.id = id, .logprob = logprob_of(id), .top = {}};
  if (count <= 0) return result;
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto kept = std::min<std::size_t>(static_cast<std::size_t>(count), order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const float left = logits[static_cast<std::size_t>(a)];
                      const float right = logits[static_cast<std::size_t>(b)];
                      return left != right ? left > right : a < b;
                    });
  for (std::size_t i = 0; i < kept; ++i) result.top.emplace_back(order[i], logprob_of(order[i]));
  return result;
}

// Chooses ids as the config says, from the logits after `history`.
class GeneratedSequence::Chooser {
 public:
  Chooser(const GenerationConfig& config, std::size_t prompt_tokens, std::uint64_t seed,
          std::uint64_t number, std::unique_ptr<TokenConstraint> constraint)
      : processor_(config, prompt_tokens), constraint_(std::move(constraint)) {
    if (config.do_sample) sampler_.emplace(seed, number);
  }

  std::int32_t choose(std::span<const std::int32_t> history, std::span<const float> logits) {
    std::span<const float> penalized = processor_.penalized(history, logits);
    if (constraint_) {
      allowed_.assign(penalized.begin(), penalized.end());
      constraint_->restrict(allowed_);
      penalized = allowed_;
      require_choice();
    }
    const std::int32_t id =
        sampler_ ? sampler_->draw(processor_.candidates(penalized)) : greedy_token(penalized);
    if (constraint_) constraint_->accept(id);
    return id;
  }

  bool takes_likeliest() const { return !sampler_ && !constraint_ && processor_.leaves_logits(); }

  bool is_complete() const { return constraint_ && constraint_->is_complete(); }

 private:
  void require_choice() const {
    const bool any = std::ranges::any_of(
        allowed_, [](float x) { return x > -std::numeric_limits<float>::infinity(); });
    if (!any) throw Error("no token of the vocabulary continues the grammar");
  }

  LogitsProcessor processor_;
  std::optional<Sampler> sampler_;
  std::unique_ptr<TokenConstraint> constraint_;
  std::vector<float> allowed_;
};

// Text that grows by tokens and ends before a stop string.
class GeneratedSequence::TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, const GenerationConfig& config)
      : visible_(tokenizer, config.skip_special_tokens),
        complete_(tokenizer, /*skip_special_tokens=*/false),
        visible_stops_(config.stop_strings),
        complete_stops_(config.stop_strings),
        watches_specials_(config.skip_special_tokens && !config.stop_strings.empty()) {}

  std::string push(std::int32_t id) {
    std::string piece = visible_stops_.push(visible_.push(id));
    // A stop string such as "<|im_end|>" is never seen where special tokens are left out.
    if (watches_specials_ && !visible_stops_.matched()) complete_stops_.push(complete_.push(id));
    return piece;
  }

  std::string finish() {
    std::string piece = visible_stops_.push(visible_.flush());
    return piece + visible_stops_.flush();
  }

  bool stopped() const { return visible_stops_.matched() || complete_stops_.matched(); }

 private:
  DetokenizerStream visible_;
  DetokenizerStream complete_;
  StopStrings visible_stops_;
  StopStrings complete_stops_;
  bool watches_specials_;
};

GeneratedSequence::GeneratedSequence(const Tokenizer* tokenizer,
                                     std::span<const std::int32_t> prompt_ids,
                                     const GenerationConfig& config, std::uint64_t seed,
                                     std::uint64_t number,
                                     std::unique_ptr<TokenConstraint> constraint)
    : config_(config),
      history_(non_empty_prompt(prompt_ids, config_)),
      prompt_tokens_(history_.size()),
      chooser_(
          std::make_unique<Chooser>(config_, prompt_tokens_, seed, number, std::move(constraint))) {
  if (tokenizer == nullptr && !config_.stop_strings.empty()) {
    throw ArgumentError("stop_strings need a tokenizer, and there is none");
  }
  if (tokenizer != nullptr) text_ = std::make_unique<TextStream>(*tokenizer, config_);
}

GeneratedSequence::~GeneratedSequence() = default;
GeneratedSequence::GeneratedSequence(GeneratedSequence&&) noexcept = default;

bool GeneratedSequence::is_eos(std::int32_t id) const {
  const auto& eos = config_.eos_token_id;
  return !config_.ignore_eos && std::find(eos.begin(), eos.end(), id) != eos.end();
}

std::optional<FinishReason> GeneratedSequence::finish_reason() const {
  const std::span<const std::int32_t> ids = new_ids();
  if (!ids.empty() && is_eos(ids.back())) return FinishReason::kEos;
  if (text_ && text_->stopped()) return FinishReason::kStopString;
  if (!ids.empty() && chooser_->is_complete()) return FinishReason::kGrammar;
  if (static_cast<std::int64_t>(ids.size()) >= config_.max_new_tokens) {
    return FinishReason::kLength;
  }
  return std::nullopt;
}

std::string GeneratedSequence::advance(std::span<const float> logits) {
  const std::int32_t id = chooser_->choose(history_, logits);
  if (config_.logprobs) logprobs_.push_back(token_logprob(logits, id, *config_.logprobs));
  return push(id);
}

bool GeneratedSequence::takes_likeliest() const {
  return chooser_->takes_likeliest() && !config_.logprobs;
}

std::string GeneratedSequence::advance_likeliest(std::int32_t id) {
  return push(id);
}

std::string GeneratedSequence::push(std::int32_t id) {
  history_.push_back(id);
  return text_ && !is_eos(id) ? text_->push(id) : std::string();
}

std::string GeneratedSequence::finish_text() {
  return text_ ? text_->finish() : std::string();
}

}  // namespace shoehorn
