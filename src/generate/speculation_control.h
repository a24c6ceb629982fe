// How much to guess, so that it pays: what passes of so many rows take and how often guesses are
// right is measured while text is made, and what speculation may lose against plain decoding is an
// account that closes it when it is overdrawn.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "generate/draft_source.h"

namespace shoehorn {

/// Counts what speculation did.
struct SpeculationStats {
  std::int64_t drafted = 0;   // ids guessed and checked
  std::int64_t accepted = 0;  // of them right
  std::int64_t passes = 0;    // of the model that checked any
  std::int64_t plain_passes = 0;
  bool switched_off = false;  // guessing lost time and has stopped
  double gained_s = 0;        // against plain passes, as estimated; below 0 where it lost
};

/// Knows times and counts only. Not thread-safe.
class SpeculationControl {
 public:
  /// The pass over the prompt: a first idea of what many rows cost.
  void prefilled(std::size_t rows, double seconds);
  /// Ids to draft of an offer, 0 for a plain pass.
  std::size_t choose(const DraftOffer& offer);

  /// A pass of one row, without drafting.
  void plain_pass(double seconds);
  /// A pass that checked `drafted` ids of a draft that took `draft_s`, of which `accepted` were
  /// right; `seconds` without drafting. Nothing drafted: it was as good as plain.
  void checked_pass(const DraftOffer& offer, std::size_t drafted, std::size_t accepted,
                    double seconds, double draft_s);

  const SpeculationStats& stats() const { return stats_; }

 private:
  struct Kind {
    double right = 0;
    double tried = 0;
  };
  struct Cost {
    double ratio = 0;  // to a plain pass
    std::int64_t measured_at = 0;
  };

  double plain_s() const;
  double cost(std::size_t rows) const;
  std::size_t known_rows() const;
  double chance(const DraftOffer& offer) const;
  bool may_lose(double tokens) const;
  void add_tokens(std::size_t count);

  std::vector<double> plain_;  // the last few
  std::size_t next_plain_ = 0;
  std::int64_t plain_at_ = 0;
  std::size_t prefill_rows_ = 0;
  double prefill_s_ = 0;
  std::map<std::size_t, Cost> costs_;  // by rows
  double draft_ratio_ = 0;             // of an id, to a plain pass
  std::array<Kind, kDraftKinds> kinds_{};
  std::int64_t tokens_ = 0;  // made so far
  double balance_ = 0;       // tokens gained, as time
  SpeculationStats stats_;
};

}  // namespace shoehorn
