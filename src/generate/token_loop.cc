#include "generate/token_loop.h"

#include <utility>

namespace shoehorn {
namespace {

double seconds_between(std::chrono::steady_clock::time_point start,
                       std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

}  // namespace

LogitsSource::~LogitsSource() = default;

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength: return "length";
    case FinishReason::kEos: return "eos";
    case FinishReason::kStopString: return "stop_string";
    case FinishReason::kGrammar: return "grammar";
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
                     std::span<const std::int32_t> prompt_ids, const GenerationConfig& config,
                     std::unique_ptr<TokenConstraint> constraint)
    : source_(source), start_(Clock::now()), first_id_at_(start_) {
  result_.seed = generation_seed(config);
  sequence_ = std::make_unique<GeneratedSequence>(tokenizer, prompt_ids, config, result_.seed,
                                                  /*number=*/0, std::move(constraint));
  result_.prompt_tokens = static_cast<std::int64_t>(sequence_->prompt_tokens());
}

std::optional<FinishReason> TokenLoop::reason_to_end() const {
  if (const auto reason = sequence_->finish_reason()) return reason;
  if (cancelled_.load(std::memory_order_relaxed)) return FinishReason::kCancelled;
  return std::nullopt;
}

bool TokenLoop::step(std::string& piece) {
  piece.clear();
  if (finished_) return false;
  if (const auto reason = reason_to_end()) {
    finished_ = true;
    result_.finish_reason = *reason;
    piece = sequence_->finish_text();
    result_.text += piece;
    return false;
  }
  const bool first = result_.ids.empty();
  const std::span<const std::int32_t> history = sequence_->history();
  const Clock::time_point step_start = Clock::now();
  const auto prefilled = [&] {
    if (first) result_.prefill_s = seconds_between(step_start, Clock::now());
  };
  std::optional<std::int32_t> likeliest;
  if (sequence_->takes_likeliest())
    likeliest = source_.likeliest(first ? history : history.last(1));
  if (likeliest) {
    prefilled();
    piece = sequence_->advance_likeliest(*likeliest);
  } else {
    const auto logits = first ? source_.prefill(history) : source_.next(history.back());
    prefilled();
    piece = sequence_->advance(logits);
  }
  result_.ids.push_back(sequence_->history().back());
  const Clock::time_point now = Clock::now();
  if (first) {
    first_id_at_ = now;
    result_.ttft_s = seconds_between(start_, now);
  } else {
    result_.decode_s = seconds_between(first_id_at_, now);
  }
  result_.text += piece;
  return true;
}

}  // namespace shoehorn
