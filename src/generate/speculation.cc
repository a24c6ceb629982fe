#include "generate/speculation.h"

#include <cassert>
#include <chrono>
#include <utility>

namespace shoehorn {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

SpeculativeSource::SpeculativeSource(CheckingSource& model, std::unique_ptr<DraftSource> drafts,
                                     std::size_t most_ids, std::function<double()> clock,
                                     std::size_t cached)
    : model_(model),
      drafts_(std::move(drafts)),
      most_ids_(most_ids),
      cached_(cached),
      clock_(clock ? std::move(clock) : steady_seconds) {}

SpeculativeSource::~SpeculativeSource() {
  try {
    finish();
  } catch (...) {
    // The model has failed before, and keeps what it holds.
  }
}

void SpeculativeSource::finish() {
  settle();
}

std::span<const float> SpeculativeSource::prefill(std::span<const std::int32_t> ids) {
  history_.assign(ids.begin(), ids.end());
  const double start = clock_();
  const std::span<const float> logits = model_.prefill(ids);
  control_.prefilled(ids.size() - cached_, clock_() - start);
  drafts_->begin(history_);
  return logits;
}

std::span<const float> SpeculativeSource::logits_row(std::size_t row) const {
  const std::size_t vocab = checked_->logits.size() / (checked_->drafted.size() + 1);
  return checked_->logits.subspan(row * vocab, vocab);
}

/// The last pass has said all it could: what was guessed wrong is forgotten.
void SpeculativeSource::settle() {
  if (!checked_) return;
  const std::size_t accepted = checked_->accepted();
  control_.checked_pass(checked_->offer, checked_->drafted.size(), accepted, checked_->seconds,
                        checked_->draft_s);
  if (accepted < checked_->drafted.size()) model_.truncate(checked_->base + accepted);
  checked_.reset();
}

bool SpeculativeSource::check_draft(bool wants_likeliest, DraftOffer& offer, double& draft_s) {
  const std::size_t left = most_ids_ - std::min(most_ids_, history_.size());
  // The pass makes an id beyond those it checks.
  offer = drafts_->offer(history_, left > 0 ? left - 1 : 0);
  const std::size_t count = control_.choose(offer);
  if (count == 0) return false;
  const double start = clock_();
  const auto drafted = drafts_->draft(history_, count);
  Checked checked{
      .offer = offer, .drafted = {drafted.begin(), drafted.end()}, .base = history_.size()};
  const double drafted_at = clock_();
  draft_s = checked.draft_s = drafted_at - start;
  if (drafted.empty()) return false;
  std::vector<std::int32_t> ids = {history_.back()};
  ids.insert(ids.end(), checked.drafted.begin(), checked.drafted.end());
  if (wants_likeliest) {
    checked.likeliest = model_.check_likeliest(ids);
  } else {
    checked.logits = model_.check(ids);
  }
  checked.seconds = clock_() - drafted_at;
  checked_ = std::move(checked);
  return true;
}

void SpeculativeSource::passed_plainly(const DraftOffer& offer, double seconds, double draft_s) {
  if (draft_s > 0) {
    control_.checked_pass(offer, 0, 0, seconds, draft_s);
  } else {
    control_.plain_pass(seconds);
  }
}

std::span<const float> SpeculativeSource::next(std::int32_t id) {
  history_.push_back(id);
  if (checked_ && checked_->foresaw(id) && !checked_->logits.empty()) {
    return logits_row(checked_->used++);
  }
  settle();
  DraftOffer offer;
  double draft_s = 0;
  if (check_draft(/*wants_likeliest=*/false, offer, draft_s)) return logits_row(0);
  const double start = clock_();
  const std::span<const float> logits = model_.next(id);
  passed_plainly(offer, clock_() - start, draft_s);
  return logits;
}

std::optional<std::int32_t> SpeculativeSource::likeliest(std::span<const std::int32_t> ids) {
  if (history_.empty()) {
    const double start = clock_();
    const auto id = model_.likeliest(ids);
    if (!id) return std::nullopt;
    gives_likeliest_ = true;
    history_.assign(ids.begin(), ids.end());
    control_.prefilled(ids.size() - cached_, clock_() - start);
    drafts_->begin(history_);
    return id;
  }
  if (!gives_likeliest_) return std::nullopt;
  assert(ids.size() == 1);
  history_.push_back(ids.front());
  if (checked_ && checked_->foresaw(ids.front()) && !checked_->likeliest.empty()) {
    return checked_->likeliest[checked_->used++];
  }
  settle();
  DraftOffer offer;
  double draft_s = 0;
  if (check_draft(/*wants_likeliest=*/true, offer, draft_s)) return checked_->likeliest.front();
  const double start = clock_();
  const auto id = model_.likeliest(ids);
  passed_plainly(offer, clock_() - start, draft_s);
  return id;
}

SpeculationStats SpeculativeSource::stats() const {
  SpeculationControl control = control_;
  if (checked_) {
    control.checked_pass(checked_->offer, checked_->drafted.size(), checked_->accepted(),
                         checked_->seconds, checked_->draft_s);
  }
  return control.stats();
}

}  // namespace shoehorn
