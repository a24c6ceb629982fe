#include "generate/token_loop.h"

#include <algorithm>
#include <random>
#include <utility>

#include "shoehorn/detokenizer.h"
#include "shoehorn/error.h"
#include "shoehorn/tokenizer.h"

#include "generate/logits_processor.h"
#include "generate/sampler.h"
#include "generate/stop_strings.h"

namespace shoehorn {
namespace {

double seconds_between(std::chrono::steady_clock::time_point start,
                       std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

std::vector<std::int32_t> non_empty_prompt(std::span<const std::int32_t> prompt_ids,
                                           const GenerationConfig& config) {
  if (!prompt_ids.empty()) return {prompt_ids.begin(), prompt_ids.end()};
  if (config.bos_token_id) return {*config.bos_token_id};
  throw ArgumentError(
      "the prompt has no tokens, and the model names no bos_token_id to begin with");
}

}  // namespace

// Chooses ids as the config says, from the logits after `history`.
class TokenLoop::Chooser {
 public:
  explicit Chooser(const GenerationConfig& config)
      : processor_(config),
        seed_(!config.do_sample ? 0
              : config.seed     ? *config.seed
                                : random_seed()) {
    if (config.do_sample) sampler_.emplace(seed_);
  }

  std::int32_t choose(std::span<const std::int32_t> history, std::span<const float> logits) {
    const std::span<const float> penalized = processor_.penalized(history, logits);
    return sampler_ ? sampler_->draw(processor_.candidates(penalized)) : greedy_token(penalized);
  }

  std::uint64_t seed() const { return seed_; }

 private:
  LogitsProcessor processor_;
  std::uint64_t seed_;
  std::optional<Sampler> sampler_;
};

// Text that grows by tokens and ends before a stop string.
class TokenLoop::TextStream {
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

LogitsSource::~LogitsSource() = default;

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength: return "length";
    case FinishReason::kEos: return "eos";
    case FinishReason::kStopString: return "stop_string";
    case FinishReason::kCancelled: return "cancelled";
  }
  return "unknown";
}

double TokenLoopResult::prefill_tok_s() const {
  return prefill_s > 0 ? static_cast<double>(prompt_tokens) / prefill_s : 0;
}

double TokenLoopResult::decode_tok_s() const {
  return ids.size() > 1 && decode_s > 0 ? static_cast<double>(ids.size() - 1) / decode_s : 0;
}

TokenLoop::TokenLoop(LogitsSource& source, const Tokenizer* tokenizer,
                     std::span<const std::int32_t> prompt_ids, GenerationConfig config)
    : source_(source),
      config_(std::move(config)),
      history_(non_empty_prompt(prompt_ids, config_)),
      chooser_(std::make_unique<Chooser>(config_)),
      start_(Clock::now()),
      first_id_at_(start_) {
  if (tokenizer == nullptr && !config_.stop_strings.empty()) {
    throw ArgumentError("stop_strings need a tokenizer, and there is none");
  }
  if (tokenizer != nullptr) text_ = std::make_unique<TextStream>(*tokenizer, config_);
  result_.seed = chooser_->seed();
  result_.prompt_tokens = static_cast<std::int64_t>(history_.size());
}

TokenLoop::~TokenLoop() = default;

bool TokenLoop::is_eos(std::int32_t id) const {
  const auto& eos = config_.eos_token_id;
  return !config_.ignore_eos && std::find(eos.begin(), eos.end(), id) != eos.end();
}

std::optional<FinishReason> TokenLoop::reason_to_end() const {
  if (!result_.ids.empty() && is_eos(result_.ids.back())) return FinishReason::kEos;
  if (text_ && text_->stopped()) return FinishReason::kStopString;
  if (static_cast<std::int64_t>(result_.ids.size()) >= config_.max_new_tokens) {
    return FinishReason::kLength;
  }
  if (cancelled_.load(std::memory_order_relaxed)) return FinishReason::kCancelled;
  return std::nullopt;
}

bool TokenLoop::step(std::string& piece) {
  piece.clear();
  if (finished_) return false;
  if (const auto reason = reason_to_end()) {
    finished_ = true;
    result_.finish_reason = *reason;
    if (text_) piece = text_->finish();
    result_.text += piece;
    return false;
  }
  const bool first = result_.ids.empty();
  const Clock::time_point step_start = Clock::now();
  const std::span<const float> logits =
      first ? source_.prefill(history_) : source_.next(history_.back());
  if (first) result_.prefill_s = seconds_between(step_start, Clock::now());
  const std::int32_t id = chooser_->choose(history_, logits);
  history_.push_back(id);
  result_.ids.push_back(id);
  const Clock::time_point now = Clock::now();
  if (first) {
    first_id_at_ = now;
    result_.ttft_s = seconds_between(start_, now);
  } else {
    result_.decode_s = seconds_between(first_id_at_, now);
  }
  if (text_ && !is_eos(id)) piece = text_->push(id);
  result_.text += piece;
  return true;
}

}  // namespace shoehorn
