// What happens to logits before a token is drawn: transformers' repetition penalty, the rules about
// history, temperature, top-k, top-p, min-p, typical-p and the cutoffs, in that order and with
// their rules for ties. Where transformers sets what it drops to -inf, this keeps a short list of
// what stays, so that a vocabulary of 256k costs a pass or two and never a full sort.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "generate/generation_config.h"
#include "generate/history_rules.h"

namespace shoehorn {

/// A token that may still be drawn.
struct Candidate {
  std::int32_t id;
  float logit;
};

/// out[i] = in[i] < 0 ? in[i] * penalty : in[i] / penalty for every id i that occurs in `ids`; the
/// caller has made the rest of `out` a copy of `in` (RepetitionPenaltyLogitsProcessor; CTRL,
/// arXiv:1909.05858). in, out [vocab] do not overlap. Ids outside the vocabulary are passed over,
/// as some models embed more tokens than their head can say.
void apply_repetition_penalty(std::span<const std::int32_t> ids, float penalty,
                              std::span<const float> in, std::span<float> out);

using SequenceBias = std::pair<std::vector<std::int32_t>, double>;

/// Adds each bias to the logit [vocab] of its last id where `ids` end with its others; of equal
/// single ids the last counts (SequenceBiasLogitsProcessor).
void add_sequence_bias(std::span<const SequenceBias> biases, std::span<const std::int32_t> ids,
                       std::span<float> logits);

/// logit / temperature for the candidates where that is not below its k-th largest value: more than
/// k where values tie there (TemperatureLogitsWarper, then TopKLogitsWarper). In the order of their
/// ids; NaN and -inf never stay. temperature > 0, k >= 1.
void select_top_k(std::span<const float> logits, float temperature, std::size_t k,
                  std::vector<Candidate>& out);

/// Drops from the least likely on while the probability dropped so far, the token's own included,
/// is <= 1 - top_p; the likeliest stays (TopPLogitsWarper; arXiv:1904.09751). Of equal logits the
/// lower id is dropped first (torch leaves that open). `candidates` are finite; their order is
/// kept. Here and below the `keep` likeliest stay whatever the rule says (transformers'
/// min_tokens_to_keep, which is above 1 for beams); keep >= 1.
void apply_top_p(double top_p, std::vector<Candidate>& candidates, std::size_t keep = 1);

/// Drops what is less likely than min_p times the likeliest (MinPLogitsWarper, arXiv:2407.01082).
void apply_min_p(double min_p, std::vector<Candidate>& candidates, std::size_t keep = 1);

/// Of the 100 likeliest keeps, from the likeliest on, those that together make up the share `top_h`
/// of their entropy; the likeliest stays (TopHLogitsWarper, arXiv:2509.02510). Of equal logits the
/// lower id is kept first (torch leaves that open).
void apply_top_h(double top_h, std::vector<Candidate>& candidates);

/// Keeps the tokens whose surprise -log p is nearest to the entropy H = -sum p log p, up to the
/// first at which their probability reaches `mass`; ties with that one stay (TypicalLogitsWarper,
/// arXiv:2202.00666). The `keep` nearest stay.
void apply_typical_p(double mass, std::vector<Candidate>& candidates, std::size_t keep = 1);

/// Drops what has a probability below `cutoff`, the likeliest never (EpsilonLogitsWarper,
/// arXiv:2210.15191). What ties with the last of the `keep` likeliest stays.
void apply_epsilon_cutoff(double cutoff, std::vector<Candidate>& candidates, std::size_t keep = 1);

/// The same with min(cutoff, sqrt(cutoff) exp(-H)) (EtaLogitsWarper, arXiv:2210.15191).
void apply_eta_cutoff(double cutoff, std::vector<Candidate>& candidates, std::size_t keep = 1);

/// All of it as a GenerationConfig asks. Owns scratch memory: not thread-safe, one a sequence.
class LogitsProcessor {
 public:
  /// `prompt_tokens`: how much of the ids is prompt.
  LogitsProcessor(const GenerationConfig& config, std::size_t prompt_tokens);

  /// True if penalized() gives the logits as they are, whatever was said.
  bool leaves_logits() const {
    return repetition_penalty_ == 1.0F && encoder_repetition_penalty_ == 1.0F &&
           sequence_bias_.empty() && !rules_.any();
  }

  /// The logits with what acts on greedy choices as well: biases, the repetition penalties over
  /// `ids` (prompt and what followed) and the rules about them. Valid until the next call; the
  /// input itself where nothing is to be done.
  std::span<const float> penalized(std::span<const std::int32_t> ids,
                                   std::span<const float> logits);

  /// The tokens that may be drawn, logits [vocab] after `penalized` and with the temperature
  /// applied, in the order of their ids, never empty. Valid until the next call. Throws Error
  /// where the logits hold +inf or no number at all.
  std::span<const Candidate> candidates(std::span<const float> logits);

 private:
  float temperature_;
  std::size_t top_k_;
  double top_p_;
  std::optional<double> min_p_;
  std::optional<double> top_h_;
  double typical_p_;
  double epsilon_cutoff_;
  double eta_cutoff_;
  std::size_t min_tokens_to_keep_;
  std::size_t prompt_tokens_;
  float encoder_repetition_penalty_;  // what it multiplies by, not the config's
  float repetition_penalty_;
  std::vector<SequenceBias> sequence_bias_;
  HistoryRules rules_;
  std::vector<float> before_penalty_;
  std::vector<float> penalized_;
  std::vector<Candidate> candidates_;
};

}  // namespace shoehorn
