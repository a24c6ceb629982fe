// Beam search as transformers' _beam_search has it: scores are sums of log-probabilities, the
// logits processors act on log-probabilities, of max(2, 1 + eos tokens) * num_beams continuations
// the best num_beams go on, and what ends among the first num_beams is kept with its score over
// length^length_penalty. With do_sample those continuations are not the best but drawn without
// replacement, in proportion to softmax of their scores.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "shoehorn/generation.h"

#include "generate/batch_source.h"
#include "generate/generation_config.h"
#include "generate/token_constraint.h"

namespace shoehorn {

struct BeamHypothesis {
  std::vector<std::int32_t> ids;  // new ones
  double score = 0;               // what transformers calls sequences_scores
  FinishReason finish_reason = FinishReason::kLength;
};

struct BeamSearchOptions {
  /// Whether the text of these new ids holds a stop string; may be empty.
  std::function<bool(std::span<const std::int32_t>)> has_stop_string = {};
  /// May be null. Every beam gets a copy.
  const TokenConstraint* constraint = nullptr;
  /// May be null. Once true, the search ends with what it has.
  const std::atomic<bool>* cancelled = nullptr;
  /// Of the draws; config.seed is not looked at. Step t draws id i of the beam of rank b with
  /// Sampler(seed).uniform((t * num_beams + b) * vocab + i).
  std::uint64_t seed = 0;
};

/// The config.num_return_sequences best continuations of `prompt` (not empty), best first. Uses
/// config.num_beams slots of `source`. Beams that split take over the memory of one that ended and
/// compute again what differs, so nothing is copied between devices. Throws ArgumentError where
/// more sequences are asked for than there are beams.
std::vector<BeamHypothesis> beam_search(BatchLogitsSource& source,
                                        std::span<const std::int32_t> prompt,
                                        const GenerationConfig& config,
                                        const BeamSearchOptions& options = {});

}  // namespace shoehorn
