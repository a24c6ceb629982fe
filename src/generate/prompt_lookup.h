// Prompt lookup: what followed the last time that the text read like its end. Good where an answer
// repeats its prompt. Mirrors transformers' PromptLookupCandidateGenerator (after
// github.com/apoorvumang/prompt-lookup-decoding), which takes the first match; this takes the
// longest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "generate/draft_source.h"

namespace shoehorn {

struct PromptLookupOptions {
  std::size_t prompt_lookup_num_tokens = 10;  // guessed at once
  std::size_t max_matching_ngram_size = 8;    // ids compared at most; longer matches are equal
  std::span<const std::int32_t> eos_token_id = {};  // nothing is guessed from one of them on
};

class PromptLookup final : public DraftSource {
 public:
  /// Throws ArgumentError where either number is 0.
  explicit PromptLookup(const PromptLookupOptions& options);

  DraftOffer offer(std::span<const std::int32_t> history, std::size_t most) override;
  std::span<const std::int32_t> draft(std::span<const std::int32_t> history,
                                      std::size_t count) override;

 private:
  std::size_t num_tokens_;
  std::size_t max_ngram_;
  std::vector<std::int32_t> eos_token_id_;
  std::vector<std::int32_t> found_;
};

}  // namespace shoehorn
