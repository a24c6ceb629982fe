#include "generate/history_rules.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace shoehorn {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void forbid(std::int32_t id, std::span<float> logits) {
  const auto i = static_cast<std::size_t>(id);  // a negative id becomes too large
  if (i < logits.size()) logits[i] = kNever;
}

void forbid(std::span<const std::int32_t> ids, std::span<float> logits) {
  for (const std::int32_t id : ids) forbid(id, logits);
}

void force(std::span<const std::int32_t> ids, std::span<float> logits) {
  std::ranges::fill(logits, kNever);
  for (const std::int32_t id : ids) {
    if (static_cast<std::size_t>(id) < logits.size()) logits[static_cast<std::size_t>(id)] = 0;
  }
}

/// Forbids what would end a second time the n tokens that `history` ends with, n >= 1, of which
/// `text` is searched for the first.
void forbid_repeated_ngrams(std::size_t n, std::span<const std::int32_t> text,
                            std::span<const std::int32_t> history, std::span<float> logits) {
  if (history.size() + 1 < n) return;
  const auto last = history.last(n - 1);
  for (std::size_t i = 0; i + n <= text.size(); ++i) {
    if (std::ranges::equal(text.subspan(i, n - 1), last)) forbid(text[i + n - 1], logits);
  }
}

void make_finite(std::span<float> logits) {
  for (float& logit : logits) {
    if (std::isnan(logit)) logit = 0;
    if (std::isinf(logit)) logit = std::copysign(std::numeric_limits<float>::max(), logit);
  }
}

bool is_eos(const std::vector<std::int32_t>& word, const std::vector<std::int32_t>& eos) {
  return word.size() == 1 && std::ranges::find(eos, word.front()) != eos.end();
}

}  // namespace

HistoryRules::HistoryRules(const GenerationConfig& config, std::size_t prompt_tokens)
    : prompt_tokens_(prompt_tokens),
      no_repeat_ngram_size_(static_cast<std::size_t>(config.no_repeat_ngram_size)),
      encoder_no_repeat_ngram_size_(static_cast<std::size_t>(config.encoder_no_repeat_ngram_size)),
      min_length_(config.min_new_tokens
                      ? prompt_tokens + static_cast<std::size_t>(*config.min_new_tokens)
                      : static_cast<std::size_t>(config.min_length)),
      max_length_(prompt_tokens + static_cast<std::size_t>(config.max_new_tokens)),
      eos_token_id_(config.eos_token_id),
      forced_eos_(config.forced_eos_token_id),
      remove_invalid_values_(config.remove_invalid_values),
      suppress_tokens_(config.suppress_tokens),
      begin_suppress_tokens_(config.begin_suppress_tokens),
      begin_length_(prompt_tokens) {
  for (const auto& word : config.bad_words_ids) {
    if (!word.empty() && !is_eos(word, eos_token_id_)) bad_words_ids_.push_back(word);
  }
  if (config.forced_bos_token_id) {
    forced_bos_.push_back(*config.forced_bos_token_id);
    // The token after the one that is forced is the first that is free.
    if (prompt_tokens <= 1) ++begin_length_;
  }
  if (const auto& decay = config.exponential_decay_length_penalty) {
    decay_length_ = prompt_tokens + static_cast<std::size_t>(decay->first);
    decay_factor_ = decay->second;
  }
  any_ = (decay_factor_ != 1 && !eos_token_id_.empty()) || no_repeat_ngram_size_ > 0 ||
         encoder_no_repeat_ngram_size_ > 0 || remove_invalid_values_ || !bad_words_ids_.empty() ||
         (min_length_ > 0 && !eos_token_id_.empty()) || !forced_bos_.empty() ||
         !forced_eos_.empty() || !suppress_tokens_.empty() || !begin_suppress_tokens_.empty();
}

void HistoryRules::apply(std::span<const std::int32_t> history, std::span<float> logits) const {
  if (no_repeat_ngram_size_ > 0) {
    forbid_repeated_ngrams(no_repeat_ngram_size_, history, history, logits);
  }
  if (encoder_no_repeat_ngram_size_ > 0) {
    const auto prompt = history.first(std::min(prompt_tokens_, history.size()));
    forbid_repeated_ngrams(encoder_no_repeat_ngram_size_, prompt, history, logits);
  }
  forbid_bad_words(history, logits);
  if (history.size() < min_length_) forbid(eos_token_id_, logits);
  if (!forced_bos_.empty() && history.size() == 1) force(forced_bos_, logits);
  if (!forced_eos_.empty() && history.size() + 1 == max_length_) force(forced_eos_, logits);
  if (remove_invalid_values_) make_finite(logits);
  if (decay_factor_ != 1 && history.size() > decay_length_) favour_ends(history.size(), logits);
  forbid(suppress_tokens_, logits);
  if (history.size() == begin_length_) forbid(begin_suppress_tokens_, logits);
}

/// logit += |logit| (factor^n - 1), n tokens beyond the length (ExponentialDecayLengthPenalty).
void HistoryRules::favour_ends(std::size_t length, std::span<float> logits) const {
  const auto beyond = static_cast<double>(length - decay_length_);
  const auto growth = static_cast<float>(std::pow(decay_factor_, beyond) - 1);
  for (const std::int32_t id : eos_token_id_) {
    const auto i = static_cast<std::size_t>(id);
    if (i < logits.size() && std::isfinite(logits[i])) logits[i] += std::abs(logits[i]) * growth;
  }
}

void HistoryRules::forbid_bad_words(std::span<const std::int32_t> history,
                                    std::span<float> logits) const {
  for (const auto& word : bad_words_ids_) {
    // As in transformers, a word as long as the history and one more does not count yet.
    if (word.size() > 1 && word.size() > history.size()) continue;
    const auto start = std::span(word).first(word.size() - 1);
    if (std::ranges::equal(start, history.last(start.size()))) forbid(word.back(), logits);
  }
}

}  // namespace shoehorn
