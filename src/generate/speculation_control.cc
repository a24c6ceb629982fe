#include "generate/speculation_control.h"

#include <algorithm>

namespace shoehorn {
namespace {

constexpr std::size_t kPlainPasses = 8;  // that the plain rate is the median of
constexpr std::size_t kLeastPlain = 3;   // before any guess
// The plain rate changes with the context and the machine's other work: measured anew after so many
// tokens. A cost of other rows is believed as long.
constexpr std::int64_t kStale = 64;
// What speculation may have lost at any time, in tokens of plain decoding: half a token to try it,
// and of every token a share that keeps the whole above 0.97 of the plain rate.
constexpr double kFirstLoss = 0.5;
constexpr double kLossShare = 0.015;
// What was gained before may be lost again, but not all of it: a text that stops repeating itself
// would pay for nothing.
constexpr double kMostSaved = 4;
constexpr double kLeastGain = 1.05;      // expected, to try
constexpr double kUnknownSlope = 0.1;    // of a row, while nothing is known
constexpr std::size_t kMostUnknown = 2;  // times the most rows measured: further is a blind guess
constexpr double kPriorWeight = 3;       // ids that a prior counts for
constexpr double kForget = 0.9;          // of what was counted, with every draft of its kind
constexpr double kForgetUnused = 0.99;

double mean_of(double old, double now) {
  return old == 0 ? now : (old + now) / 2;
}

}  // namespace

void SpeculationControl::add_tokens(std::size_t count) {
  tokens_ += static_cast<std::int64_t>(count);
}

void SpeculationControl::prefilled(std::size_t rows, double seconds) {
  prefill_rows_ = rows;
  prefill_s_ = seconds;
  add_tokens(1);
}

double SpeculationControl::plain_s() const {
  std::vector<double> sorted = plain_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

/// Time of a pass of `rows` rows, in plain passes: between what was measured, and beyond it.
double SpeculationControl::cost(std::size_t rows) const {
  struct Point {
    double rows;
    double ratio;
  };
  std::vector<Point> points = {{1, 1}};
  for (const auto& [measured, cost] : costs_) {
    if (tokens_ - cost.measured_at > kStale) continue;
    points.push_back({static_cast<double>(measured), cost.ratio});
  }
  const auto prefill_rows = static_cast<double>(prefill_rows_);
  if (prefill_rows > points.back().rows) {
    points.push_back({prefill_rows, std::max(prefill_s_ / plain_s(), 1.0)});
  }
  const auto wanted = static_cast<double>(rows);
  if (points.size() == 1) return 1 + kUnknownSlope * (wanted - 1);
  const auto above =
      std::ranges::find_if(points, [wanted](const Point& point) { return point.rows >= wanted; });
  if (above == points.begin()) return 1;
  const Point& high = above == points.end() ? points.back() : *above;
  const Point& low = above == points.end() ? points.front() : *(above - 1);
  return low.ratio + (high.ratio - low.ratio) / (high.rows - low.rows) * (wanted - low.rows);
}

/// The most rows of a pass whose time is known.
std::size_t SpeculationControl::known_rows() const {
  std::size_t most = std::max<std::size_t>(prefill_rows_, 1);
  for (const auto& [rows, cost] : costs_) {
    if (tokens_ - cost.measured_at <= kStale) most = std::max(most, rows);
  }
  return most;
}

double SpeculationControl::chance(const DraftOffer& offer) const {
  const Kind& kind = kinds_[offer.kind];
  return (kind.right + kPriorWeight * offer.prior) / (kind.tried + kPriorWeight);
}

bool SpeculationControl::may_lose(double tokens) const {
  return balance_ - tokens >= -(kFirstLoss + kLossShare * static_cast<double>(tokens_));
}

std::size_t SpeculationControl::choose(const DraftOffer& offer) {
  if (offer.most == 0 || plain_.size() < kLeastPlain || tokens_ - plain_at_ > kStale) return 0;
  const double p = chance(offer);
  double power = 1;
  double expected = 1;
  double best = kLeastGain;
  std::size_t count = 0;
  const std::size_t most = std::min(offer.most, known_rows() * kMostUnknown - 1);
  for (std::size_t k = 1; k <= most; ++k) {
    power *= p;
    expected += power;
    const double time = cost(k + 1) + draft_ratio_ * static_cast<double>(k);
    if (expected / time <= best || !may_lose(time - 1)) continue;
    best = expected / time;
    count = k;
  }
  stats_.switched_off = count == 0;
  if (count == 0) {
    kinds_[offer.kind].right *= kForgetUnused;
    kinds_[offer.kind].tried *= kForgetUnused;
  }
  return count;
}

void SpeculationControl::plain_pass(double seconds) {
  if (plain_.size() < kPlainPasses) {
    plain_.push_back(seconds);
  } else {
    plain_[next_plain_] = seconds;
    next_plain_ = (next_plain_ + 1) % kPlainPasses;
  }
  add_tokens(1);
  plain_at_ = tokens_;
  ++stats_.plain_passes;
}

void SpeculationControl::checked_pass(const DraftOffer& offer, std::size_t drafted,
                                      std::size_t accepted, double seconds, double draft_s) {
  const double plain = plain_s();
  const double gained = static_cast<double>(accepted + 1) - (seconds + draft_s) / plain;
  balance_ = std::min(balance_ + gained, kMostSaved);
  stats_.gained_s += gained * plain;
  add_tokens(accepted + 1);
  if (drafted == 0) {  // nothing but the time to find that out
    ++stats_.plain_passes;
    return;
  }
  draft_ratio_ = mean_of(draft_ratio_, draft_s / plain / static_cast<double>(drafted));
  Cost& cost = costs_[drafted + 1];
  const bool fresh = tokens_ - cost.measured_at <= kStale;
  cost = {.ratio = mean_of(fresh ? cost.ratio : 0, seconds / plain), .measured_at = tokens_};
  Kind& kind = kinds_[offer.kind];
  kind.right = kind.right * kForget + static_cast<double>(accepted);
  kind.tried = kind.tried * kForget + static_cast<double>(std::min(accepted + 1, drafted));
  stats_.drafted += static_cast<std::int64_t>(drafted);
  stats_.accepted += static_cast<std::int64_t>(accepted);
  ++stats_.passes;
}

}  // namespace shoehorn
