// Guesses of what comes next, which a model checks several at a time (speculative decoding).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace shoehorn {

/// What could be drafted now.
struct DraftOffer {
  std::size_t most = 0;  // ids at most; 0: nothing to guess by
  /// Drafts of one kind are about equally good: what is learned of one counts for the others. Below
  /// kDraftKinds.
  std::size_t kind = 0;
  double prior = 0.5;  // how likely an id of this kind is right, before anything is known
};

inline constexpr std::size_t kDraftKinds = 8;

/// Guesses cannot change what a model says, only how fast: they may be wrong. Not thread-safe.
class DraftSource {
 public:
  virtual ~DraftSource() = default;
  /// The prompt, before anything is made; here it may take its time.
  virtual void begin(std::span<const std::int32_t> /*prompt*/) {}
  /// What could follow `history` (prompt and what was made, not empty), at most `most` ids.
  virtual DraftOffer offer(std::span<const std::int32_t> history, std::size_t most) = 0;
  /// Up to `count` ids of the last offer, fewer or none where it has no confidence in more; valid
  /// until the next call.
  virtual std::span<const std::int32_t> draft(std::span<const std::int32_t> history,
                                              std::size_t count) = 0;
};

}  // namespace shoehorn
