#include "api/cached_sequences.h"

#include <algorithm>
#include <numeric>

namespace shoehorn {

CachedSequences::CachedSequences(const LoadedModel& model)
    : model_(model), vocab_(static_cast<std::size_t>(model.architecture().shape().vocab_size)) {}

CachedSequences::CachedSequences(const LoadedModel& model,
                                 const std::vector<std::int64_t>& capacities)
    : CachedSequences(model) {
  for (std::size_t slot = 0; slot < capacities.size(); ++slot) open(slot, capacities[slot]);
}

void CachedSequences::open(std::size_t slot, std::int64_t capacity) {
  if (slot >= caches_.size()) caches_.resize(slot + 1);
  caches_[slot].reset();  // first: two do not have to fit
  caches_[slot] = model_.new_kv_cache(std::max<std::int64_t>(capacity, 1));
}

std::span<const float> CachedSequences::run(std::span<const SequenceStep> steps) {
  std::vector<std::vector<std::int32_t>> positions;
  std::vector<BatchSequence> sequences;
  positions.reserve(steps.size());
  for (const SequenceStep& step : steps) {
    KvCache& cache = *caches_[step.slot];
    const auto kept = static_cast<std::int64_t>(step.keep);
    if (cache.length() > kept) cache.truncate(kept);
    positions.emplace_back(step.ids.size());
    std::iota(positions.back().begin(), positions.back().end(), static_cast<std::int32_t>(kept));
    sequences.push_back({.ids = step.ids,
                         .positions = positions.back(),
                         .kv = &cache,
                         .call_length = kept + static_cast<std::int64_t>(step.ids.size()),
                         .logits = BatchSequence::Logits::kLast});
  }
  logits_.resize(steps.size() * vocab_);
  model_.run(sequences, logits_);
  return logits_;
}

Completion BatchMember::completion() {
  const std::span<const std::int32_t> ids = sequence.new_ids();
  return {.prompt = prompt,
          .ids = {ids.begin(), ids.end()},
          .text = text + sequence.finish_text(),
          .finish_reason = sequence.finish_reason().value_or(FinishReason::kCancelled),
          .score = 0,
          .logprobs = sequence.logprobs()};
}

void advance_all(std::span<const std::unique_ptr<BatchMember>> members, CachedSequences& source) {
  std::vector<SequenceStep> steps;
  std::vector<BatchMember*> moved;
  for (const auto& member : members) {
    if (!member->goes_on()) continue;
    const GeneratedSequence& sequence = member->sequence;
    const std::size_t keep = sequence.new_ids().empty() ? 0 : sequence.history().size() - 1;
    steps.push_back({.slot = member->slot, .keep = keep, .ids = sequence.history().subspan(keep)});
    moved.push_back(member.get());
  }
  const std::span<const float> logits = source.run(steps);
  for (std::size_t i = 0; i < moved.size(); ++i) {
    BatchMember& member = *moved[i];
    member.text += member.sequence.advance(logits.subspan(i * source.vocab(), source.vocab()));
  }
}

}  // namespace shoehorn
