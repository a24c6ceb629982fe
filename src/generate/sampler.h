// From logits to one token id: the likeliest, or a draw that is the same on every machine.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "generate/logits_processor.h"

namespace shoehorn {

/// Philox4x32-10, the counter-based generator of Salmon et al. (SC11, "Parallel random numbers: as
/// easy as 1, 2, 3"): four 32-bit words that depend on counter and key alone, so draw t of a
/// sequence needs no state but t.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// The id of the largest logit, the first of equals as torch.argmax has it; NaN is never chosen.
/// Throws Error where there is no number.
std::int32_t greedy_token(std::span<const float> logits);

/// Draws tokens in proportion to softmax of their logits. Draw t of `sequence` is made from the
/// first 53 bits of philox4x32(counter = {t, sequence}, key = seed), both numbers low word first,
/// as u in [0, 1): the first candidate at which the running sum of weights exceeds u times their
/// total. Not thread-safe.
class Sampler {
 public:
  explicit Sampler(std::uint64_t seed, std::uint64_t sequence = 0)
      : seed_(seed), sequence_(sequence) {}

  /// `candidates`: not empty, finite.
  std::int32_t draw(std::span<const Candidate> candidates);
  /// The next draw is number `draw`.
  void seek(std::uint64_t draw) { draws_ = draw; }
  /// The u in [0, 1) of that draw.
  double uniform(std::uint64_t draw) const;

 private:
  std::uint64_t seed_;
  std::uint64_t sequence_;
  std::uint64_t draws_ = 0;
};

}  // namespace shoehorn
