// Continuous batching: prompts that come one after the other share passes over the weights.

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "shoehorn/error.h"
#include "shoehorn/model.h"

#include "api/cached_sequences.h"
#include "api/generation_request.h"
#include "api/model_impl.h"

namespace shoehorn {

void Model::complete_each(const std::function<std::optional<BatchPrompt>()>& next,
                          const std::function<void(Completion)>& done,
                          const GenerateOptions& options,
                          const std::atomic<bool>* cancelled) const {
  const GenerationConfig config = generation_request(impl_->generation_config, options);
  const Tokenizer* const tokenizer = impl_->tokenizer.get();
  if (config.num_beams > 1 || config.num_return_sequences > 1) {
    throw UnsupportedError(
        "prompts that share passes have one continuation each: num_beams and num_return_sequences "
        "are 1 there (--num-beams 1 --num-return-sequences 1 where generation_config.json asks for "
        "more)");
  }
  if (tokenizer == nullptr && !config.stop_strings.empty()) {
    throw ArgumentError("stop_strings need a tokenizer, and there is none");
  }
  const auto constraint = output_constraint(options, config, tokenizer, vocab_size());
  const std::uint64_t seed = generation_seed(config);

  CachedSequences source(*impl_->loaded);
  std::vector<std::size_t> free_slots(static_cast<std::size_t>(impl_->shape.max_batch));
  for (std::size_t i = 0; i < free_slots.size(); ++i) free_slots[i] = free_slots.size() - 1 - i;
  std::vector<std::unique_ptr<BatchMember>> members;
  std::size_t prompts = 0;
  bool more = true;
  const auto admit = [&](const BatchPrompt& prompt) {
    const std::vector<std::int32_t> ids = non_empty_prompt(prompt.ids, config);
    GenerationConfig own = config;
    if (prompt.max_new_tokens) {
      own.max_new_tokens = *prompt.max_new_tokens;
      own.max_length.reset();
    }
    const auto tokens = static_cast<std::int64_t>(ids.size());
    own = within_context(std::move(own), tokens, max_context());
    const std::size_t slot = free_slots.back();
    source.open(slot, std::min(max_context(), tokens + own.max_new_tokens));
    free_slots.pop_back();
    members.push_back(std::make_unique<BatchMember>(
        BatchMember{prompts++, slot,
                    GeneratedSequence(tokenizer, ids, own, seed, /*number=*/0,
                                      constraint ? constraint->clone() : nullptr)}));
  };
  const auto retire = [&](bool all) {
    for (std::size_t i = 0; i < members.size();) {
      if (!all && members[i]->goes_on()) {
        ++i;
        continue;
      }
      source.close(members[i]->slot);
      free_slots.push_back(members[i]->slot);
      Completion completion = members[i]->completion();
      members.erase(members.begin() + static_cast<std::ptrdiff_t>(i));
      done(std::move(completion));
    }
  };
  const auto is_cancelled = [&] {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  };
  while (!is_cancelled()) {
    while (more && !free_slots.empty()) {
      const std::optional<BatchPrompt> prompt = next();
      more = prompt.has_value();
      if (more) admit(*prompt);
    }
    retire(/*all=*/false);  // those that asked for no token
    if (members.empty()) {
      if (!more) break;
      continue;
    }
    advance_all(members, source);
    retire(/*all=*/false);
  }
  retire(/*all=*/true);
}

}  // namespace shoehorn
