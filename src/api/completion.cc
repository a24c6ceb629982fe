// Several sequences at once: batches of prompts, several continuations of one, beams.

#include <algorithm>
#include <memory>
#include <utility>

#include "shoehorn/error.h"
#include "shoehorn/model.h"

#include "api/cached_sequences.h"
#include "api/generation_request.h"
#include "api/model_impl.h"
#include "base/str_cat.h"
#include "generate/beam_search.h"
#include "generate/sequence.h"
#include "generate/stop_strings.h"

namespace shoehorn {
namespace {

bool is_set(const std::atomic<bool>* cancelled) {
  return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
}

/// The text of `ids` up to a stop string, and whether there is one.
std::pair<std::string, bool> text_of(const Tokenizer& tokenizer, const GenerationConfig& config,
                                     std::span<const std::int32_t> ids) {
  StopStrings stops(config.stop_strings);
  std::string text = stops.push(tokenizer.decode(ids, config.skip_special_tokens));
  return {text + stops.flush(), stops.matched()};
}

}  // namespace

SearchWidth Model::search_width(const GenerateOptions& options) const {
  const GenerationConfig config = generation_request(impl_->generation_config, options);
  return {.num_beams = config.num_beams, .num_return_sequences = config.num_return_sequences};
}

std::vector<Completion> Model::complete(std::span<const std::vector<std::int32_t>> prompts,
                                        const GenerateOptions& options,
                                        const std::atomic<bool>* cancelled) const {
  const GenerationConfig config = generation_request(impl_->generation_config, options);
  const Tokenizer* const tokenizer = impl_->tokenizer.get();
  const auto constraint = output_constraint(options, config, tokenizer, vocab_size());
  if (tokenizer == nullptr && !config.stop_strings.empty()) {
    throw ArgumentError("stop_strings need a tokenizer, and there is none");
  }
  const auto capacity = [&](std::size_t prompt_tokens, const GenerationConfig& bounded) {
    return std::min(max_context(),
                    static_cast<std::int64_t>(prompt_tokens) + bounded.max_new_tokens);
  };
  std::vector<Completion> completions;
  const std::uint64_t seed = generation_seed(config);
  if (config.num_beams > 1) {
    if (config.logprobs) {
      throw UnsupportedError("logprobs of beams are not recorded: num_beams 1 gives them");
    }
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      const std::vector<std::int32_t> prompt = non_empty_prompt(prompts[p], config);
      const GenerationConfig bounded =
          within_context(config, static_cast<std::int64_t>(prompt.size()), max_context());
      CachedSequences source(*impl_->loaded, std::vector(static_cast<std::size_t>(config.num_beams),
                                                         capacity(prompt.size(), bounded)));
      BeamSearchOptions how{.constraint = constraint.get(), .cancelled = cancelled, .seed = seed};
      if (!config.stop_strings.empty()) {
        how.has_stop_string = [&](std::span<const std::int32_t> ids) {
          return text_of(*tokenizer, config, ids).second;
        };
      }
      for (BeamHypothesis& found : beam_search(source, prompt, bounded, how)) {
        Completion& completion = completions.emplace_back();
        completion.prompt = p;
        std::span<const std::int32_t> said = found.ids;
        if (found.finish_reason == FinishReason::kEos) said = said.first(said.size() - 1);
        if (tokenizer != nullptr) completion.text = text_of(*tokenizer, config, said).first;
        completion.ids = std::move(found.ids);
        completion.finish_reason = found.finish_reason;
        completion.score = found.score;
      }
    }
    return completions;
  }

  if (config.num_return_sequences > 1 && !config.do_sample) {
    throw ArgumentError(
        "num_return_sequences above 1 needs do_sample or num_beams: greedy sequences are all the "
        "same");
  }
  std::vector<std::unique_ptr<BatchMember>> members;
  std::vector<std::int64_t> capacities;
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    const std::vector<std::int32_t> prompt = non_empty_prompt(prompts[p], config);
    const GenerationConfig bounded =
        within_context(config, static_cast<std::int64_t>(prompt.size()), max_context());
    for (std::int64_t i = 0; i < config.num_return_sequences; ++i) {
      members.push_back(std::make_unique<BatchMember>(BatchMember{
          p, members.size(),
          GeneratedSequence(tokenizer, prompt, bounded, seed, static_cast<std::uint64_t>(i),
                            constraint ? constraint->clone() : nullptr)}));
      capacities.push_back(capacity(prompt.size(), bounded));
    }
  }
  CachedSequences source(*impl_->loaded, capacities);
  while (!is_set(cancelled) &&
         std::ranges::any_of(members, [](const auto& member) { return member->goes_on(); })) {
    advance_all(members, source);
  }
  for (const auto& member : members) completions.push_back(member->completion());
  return completions;
}

}  // namespace shoehorn
