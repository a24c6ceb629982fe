#include "generate/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "shoehorn/error.h"

#include "generate/logits_processor.h"
#include "generate/portable_exp.h"
#include "generate/sampler.h"

namespace shoehorn {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Beam {
  std::vector<std::int32_t> history;  // prompt and what followed
  float score = 0;
  std::unique_ptr<TokenConstraint> constraint;
};

/// A beam and one more token.
struct Continuation {
  std::size_t beam = 0;
  std::int32_t id = 0;
  float score = 0;
  double rank = 0;  // those with the lowest are looked at
  std::optional<FinishReason> ends;
};

bool comes_before(const Continuation& a, const Continuation& b) {
  return a.rank != b.rank ? a.rank < b.rank : std::pair(a.beam, a.id) < std::pair(b.beam, b.id);
}

bool is_better(const Continuation& a, const Continuation& b) {
  return a.score != b.score ? a.score > b.score : std::pair(a.beam, a.id) < std::pair(b.beam, b.id);
}

/// What a draw without replacement, in proportion to e^score, takes first where it is lowest: the
/// logarithm of a waiting time E / e^score, E exponential (Efraimidis and Spirakis 2006;
/// torch.multinomial does the same).
double drawn_rank(float score, double uniform) {
  const double waiting = std::max(-portable_log(1.0 - uniform), 0x1p-60);
  return portable_log(waiting) - static_cast<double>(score);
}

std::size_t common_prefix(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

/// logits [vocab] to log softmax, in place.
void log_softmax(std::span<float> logits) {
  float largest = kNever;
  for (const float logit : logits) largest = std::max(largest, logit);
  double sum = 0;
  for (const float logit : logits) sum += portable_exp(logit - largest);
  if (!(sum > 0)) throw Error("the model's logits hold no number to choose a token by");
  const double log_sum = portable_log(sum);
  for (float& logit : logits) {
    logit = static_cast<float>(static_cast<double>(logit - largest) - log_sum);
  }
}

class BeamSearch {
 public:
  BeamSearch(BatchLogitsSource& source, std::span<const std::int32_t> prompt,
             const GenerationConfig& config, const BeamSearchOptions& options)
      : source_(source),
        config_(config),
        options_(options),
        prompt_tokens_(prompt.size()),
        num_beams_(static_cast<std::size_t>(config.num_beams)),
        processor_(config, prompt.size()),
        draws_(options.seed),
        slots_(num_beams_) {
    Beam& first = running_.emplace_back();
    first.history.assign(prompt.begin(), prompt.end());
    if (options.constraint != nullptr) first.constraint = options.constraint->clone();
  }

  std::vector<BeamHypothesis> run() {
    while (config_.max_new_tokens > 0 && !is_cancelled() && step()) ++steps_;
    // Only where the search was cut off are there fewer finished ones than were asked for.
    for (const Beam& beam : running_) {
      if (finished_.size() >= static_cast<std::size_t>(config_.num_return_sequences)) break;
      finished_.push_back(
          {.ids = new_ids(beam.history),
           .score = length_normalized(beam.score, beam.history.size()),
           .finish_reason = is_cancelled() ? FinishReason::kCancelled : FinishReason::kLength});
    }
    finished_.resize(std::min<std::size_t>(finished_.size(),
                                           static_cast<std::size_t>(config_.num_return_sequences)));
    return std::move(finished_);
  }

 private:
  bool is_cancelled() const {
    return options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed);
  }
  std::vector<std::int32_t> new_ids(const std::vector<std::int32_t>& history) const {
    return {history.begin() + static_cast<std::ptrdiff_t>(prompt_tokens_), history.end()};
  }
  double length_normalized(float score, std::size_t length) const {
    const auto made = static_cast<double>(std::max(length, prompt_tokens_ + 1) - prompt_tokens_);
    return static_cast<float>(score / std::pow(made, config_.length_penalty));
  }
  bool is_full() const { return finished_.size() == num_beams_; }
  bool stops_when_full() const { return config_.early_stopping == EarlyStopping::kYes; }

  /// One token for every beam; false once the search is over.
  bool step() {
    const std::vector<Continuation> best = best_continuations();
    if (best.empty()) throw Error("no token of the vocabulary continues the grammar");
    keep_finished(best);
    const bool all_end =
        std::ranges::all_of(best, [](const Continuation& c) { return c.ends.has_value(); });
    std::vector<Beam> next = next_beams(best);
    if (next.empty()) {
      running_.clear();
      return false;
    }
    running_ = std::move(next);
    may_improve_ = may_improve_ && best_possible() > worst_finished();
    return may_improve_ && !(is_full() && stops_when_full()) && !all_end;
  }

  /// Runs what is new of every beam in the memory that holds most of it.
  std::span<const float> run_beams() {
    std::vector<std::size_t> slot_of(running_.size(), num_beams_);
    std::vector<std::size_t> keep(running_.size(), 0);
    std::vector<bool> taken(num_beams_, false);
    // Those whose memory lacks one token first: the rest makes do with what is left.
    for (const bool whole : {true, false}) {
      for (std::size_t b = 0; b < running_.size(); ++b) {
        if (slot_of[b] < num_beams_) continue;
        const std::size_t most = running_[b].history.size() - 1;
        for (std::size_t s = 0; s < num_beams_; ++s) {
          if (taken[s]) continue;
          const std::size_t common = std::min(common_prefix(slots_[s], running_[b].history), most);
          if (whole ? common < most || slots_[s].size() > most
                    : slot_of[b] < num_beams_ && common <= keep[b]) {
            continue;
          }
          slot_of[b] = s;
          keep[b] = common;
          if (whole) break;
        }
        if (slot_of[b] < num_beams_) taken[slot_of[b]] = true;
      }
    }
    std::vector<SequenceStep> steps;
    for (std::size_t b = 0; b < running_.size(); ++b) {
      slots_[slot_of[b]] = running_[b].history;
      steps.push_back({.slot = slot_of[b],
                       .keep = keep[b],
                       .ids = std::span(running_[b].history).subspan(keep[b])});
    }
    return source_.run(steps);
  }

  /// What may follow beam b, whose logits are `row`, with log-probabilities for logits.
  std::span<const Candidate> candidates_of(std::size_t b, std::span<const float> row) {
    log_probs_.assign(row.begin(), row.end());
    log_softmax(log_probs_);
    const auto processed = processor_.penalized(running_[b].history, log_probs_);
    allowed_.assign(processed.begin(), processed.end());
    if (running_[b].constraint) running_[b].constraint->restrict(allowed_);
    candidates_.clear();
    if (!std::ranges::any_of(allowed_, [](float x) { return x > kNever; })) return candidates_;
    if (config_.do_sample) {
      const auto kept = processor_.candidates(allowed_);
      candidates_.assign(kept.begin(), kept.end());
    } else {
      for (std::size_t i = 0; i < allowed_.size(); ++i) {
        if (!(allowed_[i] > kNever)) continue;  // NaN too
        candidates_.push_back({static_cast<std::int32_t>(i), allowed_[i]});
      }
    }
    if (config_.renormalize_logits) {
      log_probs_.clear();
      for (const Candidate& candidate : candidates_) log_probs_.push_back(candidate.logit);
      log_softmax(log_probs_);
      for (std::size_t i = 0; i < log_probs_.size(); ++i) candidates_[i].logit = log_probs_[i];
    }
    return candidates_;
  }

  double rank_of(const Continuation& continuation, std::size_t vocab) const {
    if (!config_.do_sample) return -static_cast<double>(continuation.score);
    const std::uint64_t row = steps_ * num_beams_ + continuation.beam;
    return drawn_rank(continuation.score,
                      draws_.uniform(row * vocab + static_cast<std::uint64_t>(continuation.id)));
  }

  /// As many continuations as are looked at, the best or drawn ones, the best first.
  std::vector<Continuation> best_continuations() {
    const std::span<const float> logits = run_beams();
    const std::size_t vocab = logits.size() / running_.size();
    const std::size_t wanted =
        std::max<std::size_t>(2, 1 + config_.eos_token_id.size()) * num_beams_;
    std::vector<Continuation> all;
    for (std::size_t b = 0; b < running_.size(); ++b) {
      for (const Candidate& next : candidates_of(b, logits.subspan(b * vocab, vocab))) {
        Continuation& made = all.emplace_back(Continuation{.beam = b,
                                                           .id = next.id,
                                                           .score = next.logit + running_[b].score,
                                                           .ends = std::nullopt});
        made.rank = rank_of(made, vocab);
      }
      if (all.size() <= wanted) continue;
      std::ranges::nth_element(all, all.begin() + static_cast<std::ptrdiff_t>(wanted),
                               comes_before);
      all.resize(wanted);
    }
    std::ranges::sort(all, is_better);
    for (Continuation& continuation : all) continuation.ends = end_of(continuation);
    return all;
  }

  std::optional<FinishReason> end_of(const Continuation& continuation) const {
    const auto& eos = config_.eos_token_id;
    if (!config_.ignore_eos && std::ranges::find(eos, continuation.id) != eos.end()) {
      return FinishReason::kEos;
    }
    std::vector<std::int32_t> ids = new_ids(running_[continuation.beam].history);
    ids.push_back(continuation.id);
    if (options_.has_stop_string && options_.has_stop_string(ids)) return FinishReason::kStopString;
    if (const auto& constraint = running_[continuation.beam].constraint) {
      const std::unique_ptr<TokenConstraint> after = constraint->clone();
      after->accept(continuation.id);
      if (after->is_complete()) return FinishReason::kGrammar;
    }
    if (static_cast<std::int64_t>(ids.size()) >= config_.max_new_tokens) {
      return FinishReason::kLength;
    }
    return std::nullopt;
  }

  /// Of the best num_beams, those that end, among what ended before.
  void keep_finished(const std::vector<Continuation>& best) {
    if ((is_full() && stops_when_full()) || !may_improve_) return;
    for (std::size_t i = 0; i < std::min(num_beams_, best.size()); ++i) {
      if (!best[i].ends) continue;
      std::vector<std::int32_t> ids = new_ids(running_[best[i].beam].history);
      ids.push_back(best[i].id);
      const double score = length_normalized(best[i].score, prompt_tokens_ + ids.size());
      finished_.push_back({.ids = std::move(ids), .score = score, .finish_reason = *best[i].ends});
    }
    std::ranges::stable_sort(finished_, std::ranges::greater(), &BeamHypothesis::score);
    if (finished_.size() > num_beams_) finished_.resize(num_beams_);
  }

  std::vector<Beam> next_beams(const std::vector<Continuation>& best) const {
    std::vector<Beam> next;
    for (const Continuation& continuation : best) {
      if (continuation.ends || next.size() == num_beams_) continue;
      const Beam& from = running_[continuation.beam];
      Beam& beam = next.emplace_back();
      beam.history = from.history;
      beam.history.push_back(continuation.id);
      beam.score = continuation.score;
      if (!from.constraint) continue;
      beam.constraint = from.constraint->clone();
      beam.constraint->accept(continuation.id);
    }
    return next;
  }

  double best_possible() const {
    const bool to_the_end =
        config_.early_stopping == EarlyStopping::kNever && config_.length_penalty > 0;
    const std::size_t length =
        to_the_end ? prompt_tokens_ + static_cast<std::size_t>(config_.max_new_tokens)
                   : running_.front().history.size();
    return length_normalized(running_.front().score, length);
  }
  double worst_finished() const { return is_full() ? finished_.back().score : -1e9; }

  BatchLogitsSource& source_;
  const GenerationConfig& config_;
  const BeamSearchOptions& options_;
  std::size_t prompt_tokens_;
  std::size_t num_beams_;
  LogitsProcessor processor_;
  Sampler draws_;
  std::uint64_t steps_ = 0;
  std::vector<Beam> running_;                     // best first
  std::vector<BeamHypothesis> finished_;          // best first
  bool may_improve_ = true;                       // what runs may beat what is finished
  std::vector<std::vector<std::int32_t>> slots_;  // what the source's memory holds
  std::vector<float> log_probs_;
  std::vector<float> allowed_;
  std::vector<Candidate> candidates_;
};

}  // namespace

std::vector<BeamHypothesis> beam_search(BatchLogitsSource& source,
                                        std::span<const std::int32_t> prompt,
                                        const GenerationConfig& config,
                                        const BeamSearchOptions& options) {
  require_beams_for_sequences(config);
  return BeamSearch(source, prompt, config, options).run();
}

}  // namespace shoehorn
