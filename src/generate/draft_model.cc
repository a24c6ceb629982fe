#include "generate/draft_model.h"

#include <algorithm>
#include <cmath>

namespace shoehorn {

DraftModel::DraftModel(CheckingSource& model, const DraftModelOptions& options,
                       const GenerationConfig& config, std::size_t prompt_tokens,
                       std::uint64_t seed)
    : model_(model),
      options_(options),
      prompt_tokens_(prompt_tokens),
      processor_(config, prompt_tokens) {
  if (config.do_sample) sampler_.emplace(seed);
}

void DraftModel::begin(std::span<const std::int32_t> prompt) {
  if (prompt.size() <= options_.capacity) catch_up(prompt);
}

DraftOffer DraftModel::offer(std::span<const std::int32_t> history, std::size_t most) {
  const std::size_t room = options_.capacity - std::min(options_.capacity, history.size());
  return {.most = std::min({most, room, options_.num_assistant_tokens}), .kind = 0, .prior = 0.7};
}

/// The logits after `history`, of which the model may know a part, and wrong guesses beyond it.
std::span<const float> DraftModel::catch_up(std::span<const std::int32_t> history) {
  const auto differs = std::ranges::mismatch(fed_, history.first(history.size() - 1)).in1;
  const auto known = static_cast<std::size_t>(differs - fed_.begin());
  if (known < fed_.size()) model_.truncate(known);
  fed_.assign(history.begin(), history.end());
  return model_.prefill(history.subspan(known));
}

std::optional<std::int32_t> DraftModel::choose(std::span<const std::int32_t> ids,
                                               std::span<const float> logits) {
  logits = logits.first(std::min(logits.size(), options_.vocab_size));
  const std::span<const float> penalized = processor_.penalized(ids, logits);
  std::int32_t id = 0;
  if (sampler_) {
    sampler_->seek(ids.size() - prompt_tokens_);
    id = sampler_->draw(processor_.candidates(penalized));
  } else {
    id = greedy_token(penalized);
  }
  const float own = logits[static_cast<std::size_t>(id)];
  double others = 0;  // relative to its own probability
  for (const float logit : logits) others += std::exp(static_cast<double>(logit - own));
  // Written so that NaN is unsure.
  if (!(others * options_.assistant_confidence_threshold <= 1)) return std::nullopt;
  return id;
}

std::span<const std::int32_t> DraftModel::draft(std::span<const std::int32_t> history,
                                                std::size_t count) {
  ids_.assign(history.begin(), history.end());
  std::span<const float> logits = catch_up(history);
  for (std::size_t i = 0; i < count; ++i) {
    const auto id = choose(ids_, logits);
    if (!id) break;
    ids_.push_back(*id);
    if (i + 1 == count) break;
    fed_.push_back(*id);
    logits = model_.next(*id);
  }
  return std::span(ids_).subspan(history.size());
}

}  // namespace shoehorn
