#include "generate/prompt_lookup.h"

#include <algorithm>
#include <array>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

// The longer a match, the likelier its continuation. Matches of 1, 2, 3, up to 5, and more ids.
struct MatchKind {
  std::size_t most;
  double prior;
};
constexpr std::array<MatchKind, 5> kKinds = {
    {{1, 0.25}, {2, 0.5}, {3, 0.6}, {5, 0.75}, {std::size_t(-1), 0.9}}};
static_assert(kKinds.size() <= kDraftKinds);

/// How many ids before `a` and before `b` are the same, at most `most`.
std::size_t common_suffix(std::span<const std::int32_t> ids, std::size_t a, std::size_t b,
                          std::size_t most) {
  most = std::min({most, a, b});
  std::size_t length = 0;
  while (length < most && ids[a - 1 - length] == ids[b - 1 - length]) ++length;
  return length;
}

}  // namespace

PromptLookup::PromptLookup(const PromptLookupOptions& options)
    : num_tokens_(options.prompt_lookup_num_tokens),
      max_ngram_(options.max_matching_ngram_size),
      eos_token_id_(options.eos_token_id.begin(), options.eos_token_id.end()) {
  if (num_tokens_ == 0 || max_ngram_ == 0) {
    throw ArgumentError("prompt_lookup_num_tokens and max_matching_ngram_size must be at least 1");
  }
}

DraftOffer PromptLookup::offer(std::span<const std::int32_t> history, std::size_t most) {
  found_.clear();
  most = std::min(most, num_tokens_);
  if (most == 0) return {};
  const std::size_t end = history.size();
  std::size_t longest = 0;
  std::size_t next = 0;  // what followed
  // From the end backwards: of equally long matches the latest, as text drifts.
  for (std::size_t at = end - 1; at >= 1 && longest < max_ngram_; --at) {
    if (history[at - 1] != history[end - 1]) continue;
    const std::size_t length = common_suffix(history, at, end, max_ngram_);
    if (length <= longest) continue;
    longest = length;
    next = at;
  }
  if (longest == 0) return {};
  // A text that repeats itself goes on with what is being guessed.
  for (std::size_t i = next; found_.size() < most; ++i) {
    const std::int32_t id = i < end ? history[i] : found_[i - end];
    if (std::ranges::find(eos_token_id_, id) != eos_token_id_.end()) break;
    found_.push_back(id);
  }
  const auto kind = std::ranges::find_if(
      kKinds, [longest](const MatchKind& candidate) { return longest <= candidate.most; });
  return {.most = found_.size(),
          .kind = static_cast<std::size_t>(kind - kKinds.begin()),
          .prior = kind->prior};
}

std::span<const std::int32_t> PromptLookup::draft(std::span<const std::int32_t> /*history*/,
                                                  std::size_t count) {
  return std::span(found_).first(std::min(count, found_.size()));
}

}  // namespace shoehorn
