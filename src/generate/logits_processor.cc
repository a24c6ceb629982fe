#include "generate/logits_processor.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "generate/portable_exp.h"

namespace shoehorn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float largest_logit(std::span<const Candidate> candidates) {
  float largest = -kInfinity;
  for (const Candidate& candidate : candidates) largest = std::max(largest, candidate.logit);
  return largest;
}

// Candidates from the least likely to the likeliest, as torch's stable ascending sort has them.
bool less_likely(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit < b.logit : a.id < b.id;
}

// The likeliest first, of equal logits the lower id.
bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// Probability mass by distance from the largest logit, so that only the slice in which the nucleus
// begins has to be sorted. Slice 0 is the likeliest.
class Slices {
 public:
  explicit Slices(std::span<const Candidate> candidates)
      : largest_(largest_logit(candidates)), mass_(kSlices, 0.0) {
    for (const Candidate& candidate : candidates) {
      mass_[of(candidate)] += portable_exp(candidate.logit - largest_);
    }
  }

  static constexpr std::size_t kSlices = 4096;

  std::size_t of(const Candidate& candidate) const {
    // 1/128 wide down to e^-32, below which no slice matters; -inf cannot occur.
    const float distance = (largest_ - candidate.logit) * 128.0f;
    return distance < static_cast<float>(kSlices) ? static_cast<std::size_t>(distance)
                                                  : kSlices - 1;
  }

  double mass(std::size_t slice) const { return mass_[slice]; }
  float largest() const { return largest_; }

  double total() const {
    double total = 0;
    for (std::size_t slice = kSlices; slice-- > 0;) total += mass_[slice];
    return total;
  }

 private:
  float largest_;
  std::vector<double> mass_;
};

// The least likely candidate that top-p keeps.
Candidate nucleus_edge(double top_p, std::span<const Candidate> candidates) {
  const Slices slices(candidates);
  const double total = slices.total();
  // torch compares float32 sums with a float32 threshold.
  const float dropped_at_most = static_cast<float>(1.0 - top_p);
  const auto drops = [&](double sum) { return static_cast<float>(sum / total) <= dropped_at_most; };

  double sum = 0;
  std::size_t slice = Slices::kSlices - 1;
  while (slice > 0 && drops(sum + slices.mass(slice))) sum += slices.mass(slice--);

  std::vector<Candidate> edge;
  for (const Candidate& candidate : candidates) {
    if (slices.of(candidate) == slice) edge.push_back(candidate);
  }
  std::sort(edge.begin(), edge.end(), less_likely);
  for (const Candidate& candidate : edge) {
    sum += portable_exp(candidate.logit - slices.largest());
    if (!drops(sum)) return candidate;
  }
  // Nothing of the slice stays: top_p is near 0, or the two loops' sums differ in the last bit.
  // Then the nucleus begins with the next slice, and the likeliest always stays.
  Candidate kept = *std::max_element(candidates.begin(), candidates.end(), less_likely);
  for (const Candidate& candidate : candidates) {
    if (slices.of(candidate) < slice && less_likely(candidate, kept)) kept = candidate;
  }
  return kept;
}

/// Log-probabilities of candidates, and their entropy.
struct Distribution {
  std::vector<double> log_p;
  double entropy = 0;

  explicit Distribution(std::span<const Candidate> candidates) {
    const float largest = largest_logit(candidates);
    double total = 0;
    double weighted = 0;  // sum of e^x x
    for (const Candidate& candidate : candidates) {
      const float x = candidate.logit - largest;
      const double weight = portable_exp(x);
      total += weight;
      weighted += weight * x;
    }
    const double log_total = portable_log(total);
    entropy = log_total - weighted / total;
    log_p.reserve(candidates.size());
    for (const Candidate& candidate : candidates) {
      log_p.push_back(static_cast<double>(candidate.logit - largest) - log_total);
    }
  }
};

/// The k-th largest logit, the least where there are fewer; k >= 1, `candidates` not empty.
float kth_largest(std::span<const Candidate> candidates, std::size_t k) {
  if (k == 1) return largest_logit(candidates);
  std::vector<float> values;
  for (const Candidate& candidate : candidates) values.push_back(candidate.logit);
  const auto kth = values.begin() + static_cast<std::ptrdiff_t>(std::min(k, values.size()) - 1);
  std::nth_element(values.begin(), kth, values.end(), std::greater<>());
  return *kth;
}

/// The k-th in the order of `before`, the last where there are fewer; k >= 1.
template <typename Before>
Candidate kth_candidate(std::vector<Candidate> candidates, std::size_t k, Before before) {
  const auto kth =
      candidates.begin() + static_cast<std::ptrdiff_t>(std::min(k, candidates.size()) - 1);
  std::nth_element(candidates.begin(), kth, candidates.end(), before);
  return *kth;
}

void drop_below(double cutoff, const Distribution& distribution, std::vector<Candidate>& candidates,
                std::size_t keep) {
  const float kept = kth_largest(candidates, keep);
  const float least = static_cast<float>(cutoff);
  std::size_t i = 0;
  std::erase_if(candidates, [&](const Candidate& candidate) {
    const float p = portable_exp(static_cast<float>(distribution.log_p[i++]));
    return p < least && candidate.logit < kept;
  });
}

// What TopHLogitsWarper looks at.
constexpr std::size_t kTopHCandidates = 100;

/// Keeps those that are not below the k-th largest.
void keep_top_k(std::size_t k, std::vector<Candidate>& candidates) {
  if (candidates.size() <= k) return;
  const float bar = kth_largest(candidates, k);
  std::erase_if(candidates, [bar](const Candidate& candidate) { return candidate.logit < bar; });
}

}  // namespace

void apply_repetition_penalty(std::span<const std::int32_t> ids, float penalty,
                              std::span<const float> in, std::span<float> out) {
  assert(in.size() == out.size());
  for (const std::int32_t id : ids) {
    const auto i = static_cast<std::size_t>(id);  // a negative id becomes too large
    if (i < in.size()) out[i] = in[i] < 0 ? in[i] * penalty : in[i] / penalty;
  }
}

void add_sequence_bias(std::span<const SequenceBias> biases, std::span<const std::int32_t> ids,
                       std::span<float> logits) {
  std::map<std::size_t, float> added;  // by id
  for (const auto& [sequence, bias] : biases) {
    if (sequence.size() == 1) {
      added[static_cast<std::size_t>(sequence.front())] = static_cast<float>(bias);
    }
  }
  for (const auto& [sequence, bias] : biases) {
    const auto start = std::span(sequence).first(sequence.size() - 1);
    if (start.empty() || start.size() > ids.size()) continue;
    if (std::ranges::equal(start, ids.last(start.size()))) {
      added[static_cast<std::size_t>(sequence.back())] += static_cast<float>(bias);
    }
  }
  for (const auto& [id, bias] : added) {
    if (id < logits.size()) logits[id] += bias;
  }
}

void select_top_k(std::span<const float> logits, float temperature, std::size_t k,
                  std::vector<Candidate>& out) {
  assert(temperature > 0 && k >= 1);
  out.clear();
  // Collect what reaches the bar; when the list is long, raise the bar to the k-th largest so far
  // and drop what is below. Ties at the bar stay, so the list may grow: then it is pruned later.
  // Most logits are turned away undivided, by a bar a few ulp too low: division may round two
  // logits to one value, and those tie.
  float bar = -kInfinity;
  float undivided_bar = -kInfinity;
  std::vector<float> values;
  const auto prune = [&] {
    if (out.size() <= k) return;
    values.clear();
    for (const Candidate& candidate : out) values.push_back(candidate.logit);
    const auto kth = values.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(values.begin(), kth, values.end(), std::greater<>());
    bar = *kth;
    undivided_bar = bar * temperature - std::abs(bar * temperature) * 1e-6f;
    std::erase_if(out, [&](const Candidate& candidate) { return candidate.logit < bar; });
  };
  std::size_t long_list = std::max<std::size_t>(2 * std::min(k, logits.size()), 1024);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] < undivided_bar) continue;
    const float logit = logits[i] / temperature;
    if (!(logit >= bar) || logit == -kInfinity) continue;  // the first is false for NaN
    out.push_back({static_cast<std::int32_t>(i), logit});
    if (out.size() >= long_list) {
      prune();
      long_list = std::max(long_list, 2 * out.size());
    }
  }
  prune();
}

void apply_top_p(double top_p, std::vector<Candidate>& candidates, std::size_t keep) {
  if (candidates.empty()) return;
  Candidate edge = nucleus_edge(top_p, candidates);
  if (keep > 1) {
    const auto likelier = [](const Candidate& a, const Candidate& b) { return less_likely(b, a); };
    edge = std::min(edge, kth_candidate(candidates, keep, likelier), less_likely);
  }
  std::erase_if(candidates,
                [&](const Candidate& candidate) { return less_likely(candidate, edge); });
}

void apply_top_h(double top_h, std::vector<Candidate>& candidates) {
  std::vector<Candidate> sorted = candidates;
  const std::size_t most = std::min(kTopHCandidates, sorted.size());
  std::partial_sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(most),
                    sorted.end(), likelier);
  sorted.resize(most);
  const Distribution distribution(sorted);
  // torch sums in float32.
  const auto threshold = static_cast<float>(distribution.entropy * top_h);
  double sum = 0;
  std::size_t kept = 0;
  for (; kept < most; ++kept) {
    const double log_p = distribution.log_p[kept];
    sum -= portable_exp(static_cast<float>(log_p)) * log_p;
    if (kept > 0 && !(static_cast<float>(sum) <= threshold)) break;
  }
  const Candidate last = sorted[kept - 1];
  std::erase_if(candidates, [&](const Candidate& candidate) { return likelier(last, candidate); });
}

void apply_min_p(double min_p, std::vector<Candidate>& candidates, std::size_t keep) {
  if (candidates.empty()) return;
  // p_i < min_p * p_max, both over the same sum, which cancels.
  const float largest = largest_logit(candidates);
  const float least = static_cast<float>(min_p);
  const Candidate kept = kth_candidate(candidates, keep, likelier);
  std::erase_if(candidates, [&](const Candidate& candidate) {
    return portable_exp(candidate.logit - largest) < least && likelier(kept, candidate);
  });
}

void apply_typical_p(double mass, std::vector<Candidate>& candidates, std::size_t keep) {
  if (candidates.empty()) return;
  const Distribution distribution(candidates);
  struct Surprise {
    float distance;  // from the entropy
    double log_p;
    std::size_t candidate;
  };
  std::vector<Surprise> surprises;
  surprises.reserve(candidates.size());
  for (const double log_p : distribution.log_p) {
    surprises.push_back(
        {static_cast<float>(std::abs(log_p + distribution.entropy)), log_p, surprises.size()});
  }
  std::vector<Surprise> sorted = surprises;
  std::ranges::stable_sort(sorted, {}, &Surprise::distance);
  double sum = 0;
  std::size_t last = 0;
  for (; last + 1 < sorted.size(); ++last) {
    sum += portable_exp(static_cast<float>(sorted[last].log_p));
    if (!(static_cast<float>(sum) < static_cast<float>(mass))) break;
  }
  const float farthest = sorted[last].distance;
  for (std::size_t i = 0; i < std::min(keep, sorted.size()); ++i) {
    surprises[sorted[i].candidate].distance = farthest;
  }
  std::size_t i = 0;
  std::erase_if(candidates, [&](const Candidate&) { return surprises[i++].distance > farthest; });
}

void apply_epsilon_cutoff(double cutoff, std::vector<Candidate>& candidates, std::size_t keep) {
  drop_below(cutoff, Distribution(candidates), candidates, keep);
}

void apply_eta_cutoff(double cutoff, std::vector<Candidate>& candidates, std::size_t keep) {
  const Distribution distribution(candidates);
  const double spread = portable_exp(-static_cast<float>(distribution.entropy));
  drop_below(std::min(cutoff, std::sqrt(cutoff) * spread), distribution, candidates, keep);
}

LogitsProcessor::LogitsProcessor(const GenerationConfig& config, std::size_t prompt_tokens)
    : temperature_(static_cast<float>(config.temperature)),
      top_k_(static_cast<std::size_t>(config.top_k)),
      top_p_(config.top_p),
      min_p_(config.min_p),
      top_h_(config.top_h),
      typical_p_(config.typical_p),
      epsilon_cutoff_(config.epsilon_cutoff),
      eta_cutoff_(config.eta_cutoff),
      // Of a beam as many go on as can end it, and one more.
      min_tokens_to_keep_(
          config.num_beams > 1 ? std::max<std::size_t>(config.eos_token_id.size(), 1) + 1 : 1),
      prompt_tokens_(prompt_tokens),
      encoder_repetition_penalty_(static_cast<float>(1 / config.encoder_repetition_penalty)),
      repetition_penalty_(static_cast<float>(config.repetition_penalty)),
      sequence_bias_(config.sequence_bias),
      rules_(config, prompt_tokens) {}

std::span<const float> LogitsProcessor::penalized(std::span<const std::int32_t> ids,
                                                  std::span<const float> logits) {
  if (leaves_logits()) return logits;
  penalized_.assign(logits.begin(), logits.end());
  add_sequence_bias(sequence_bias_, ids, penalized_);
  if (encoder_repetition_penalty_ != 1.0f) {
    before_penalty_ = penalized_;
    apply_repetition_penalty(ids.first(std::min(prompt_tokens_, ids.size())),
                             encoder_repetition_penalty_, before_penalty_, penalized_);
  }
  if (repetition_penalty_ != 1.0f) {
    before_penalty_ = penalized_;
    apply_repetition_penalty(ids, repetition_penalty_, before_penalty_, penalized_);
  }
  rules_.apply(ids, penalized_);
  return penalized_;
}

std::span<const Candidate> LogitsProcessor::candidates(std::span<const float> logits) {
  // top_h looks at the likeliest before top_k takes any away.
  const std::size_t all = std::max<std::size_t>(logits.size(), 1);
  const std::size_t k = top_k_ == 0 ? all : std::max(top_k_, min_tokens_to_keep_);
  select_top_k(logits, temperature_, top_h_ ? std::max(k, kTopHCandidates) : k, candidates_);
  if (candidates_.empty()) throw Error("the model's logits hold no number to draw a token from");
  if (largest_logit(candidates_) == kInfinity) {
    throw Error(str_cat("a logit is infinite after division by the temperature ", temperature_));
  }
  if (top_h_) {
    apply_top_h(*top_h_, candidates_);
    keep_top_k(k, candidates_);
  }
  const std::size_t keep = min_tokens_to_keep_;
  if (top_p_ < 1.0) apply_top_p(top_p_, candidates_, keep);
  if (min_p_) apply_min_p(*min_p_, candidates_, keep);
  if (typical_p_ < 1.0) apply_typical_p(typical_p_, candidates_, keep);
  if (epsilon_cutoff_ > 0) apply_epsilon_cutoff(epsilon_cutoff_, candidates_, keep);
  if (eta_cutoff_ > 0) apply_eta_cutoff(eta_cutoff_, candidates_, keep);
  return candidates_;
}

}  // namespace shoehorn
