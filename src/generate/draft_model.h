// A small model that guesses what a large one will say. It chooses as the large one would: by the
// same rules, and where tokens are drawn with the large one's next random numbers, so that two
// models that agree draw the same. It stops where it is unsure, as transformers' assistant models
// do (assistant_confidence_threshold).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "generate/draft_source.h"
#include "generate/generation_config.h"
#include "generate/logits_processor.h"
#include "generate/sampler.h"
#include "generate/speculation.h"

namespace shoehorn {

struct DraftModelOptions {
  std::size_t num_assistant_tokens = 8;          // drafted at once
  double assistant_confidence_threshold = 0.35;  // less likely ids are not worth a check
  std::size_t capacity = 0;                      // positions that the small model has room for
  std::size_t vocab_size = 0;                    // of the large model
};

/// Borrows the small model, whose ids mean what the large one's do.
class DraftModel final : public DraftSource {
 public:
  /// `config` and `seed` are the large model's.
  DraftModel(CheckingSource& model, const DraftModelOptions& options,
             const GenerationConfig& config, std::size_t prompt_tokens, std::uint64_t seed);

  void begin(std::span<const std::int32_t> prompt) override;
  DraftOffer offer(std::span<const std::int32_t> history, std::size_t most) override;
  std::span<const std::int32_t> draft(std::span<const std::int32_t> history,
                                      std::size_t count) override;

 private:
  std::span<const float> catch_up(std::span<const std::int32_t> history);
  /// Nothing where it is unsure.
  std::optional<std::int32_t> choose(std::span<const std::int32_t> ids,
                                     std::span<const float> logits);

  CheckingSource& model_;
  DraftModelOptions options_;
  std::size_t prompt_tokens_;
  LogitsProcessor processor_;
  std::optional<Sampler> sampler_;
  std::vector<std::int32_t> fed_;  // ids that the small model has taken
  std::vector<std::int32_t> ids_;  // history and draft
};

}  // namespace shoehorn
