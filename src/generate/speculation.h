// Speculative decoding (arXiv:2211.17192, arXiv:2302.01318), behind the face of a model that gives
// logits: ids are guessed, one pass computes the logits after all of them, and as long as what is
// chosen from those is what was guessed, no other pass is needed. Every id is chosen from the
// model's own logits after the ids before it, by the same rules and with the same draws as without:
// a seed gives the same text, but where two ids are as likely within rounding. That is why draws of
// a draft are held against the model's own, and not accepted by the ratio of their probabilities,
// which keeps the distribution and not the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "generate/draft_source.h"
#include "generate/speculation_control.h"
#include "generate/token_loop.h"

namespace shoehorn {

/// A model that can check guesses.
class CheckingSource : public LogitsSource {
 public:
  /// Takes several ids; the logits [ids, vocab] after each, valid until the next call.
  virtual std::span<const float> check(std::span<const std::int32_t> ids) = 0;
  /// In place of it: the likeliest id after each; empty: the source gives logits.
  virtual std::span<const std::int32_t> check_likeliest(std::span<const std::int32_t> /*ids*/) {
    return {};
  }
  /// Forgets the ids after the first `length`.
  virtual void truncate(std::size_t length) = 0;
};

/// Borrows the model. Not thread-safe.
class SpeculativeSource final : public LogitsSource {
 public:
  /// `most_ids`: of prompt and new ones together; nothing is guessed beyond. `clock` gives seconds,
  /// for tests; empty: the real ones. `cached`: ids of the prompt that the model holds already.
  SpeculativeSource(CheckingSource& model, std::unique_ptr<DraftSource> drafts,
                    std::size_t most_ids, std::function<double()> clock = {},
                    std::size_t cached = 0);
  ~SpeculativeSource() override;

  std::span<const float> prefill(std::span<const std::int32_t> ids) override;
  std::span<const float> next(std::int32_t id) override;
  std::optional<std::int32_t> likeliest(std::span<const std::int32_t> ids) override;

  /// Nothing more is asked: the model forgets what was guessed beyond what was said.
  void finish();

  /// Of what was done so far.
  SpeculationStats stats() const;

 private:
  /// What a pass computed: a row after the id it was given, and one after each of `drafted`.
  struct Checked {
    DraftOffer offer;
    std::vector<std::int32_t> drafted;
    std::size_t used = 1;  // rows that were handed out
    std::size_t base = 0;  // ids before `drafted`
    double seconds = 0;
    double draft_s = 0;
    std::span<const float> logits = {};  // one of the two
    std::span<const std::int32_t> likeliest = {};
    std::size_t accepted() const { return used - 1; }
    bool foresaw(std::int32_t id) const {
      return used <= drafted.size() && drafted[used - 1] == id;
    }
  };

  std::span<const float> logits_row(std::size_t row) const;
  void settle();
  /// Drafts what may follow the history and has it checked; false where a plain pass is better, or
  /// `draft_s` was for nothing.
  bool check_draft(bool wants_likeliest, DraftOffer& offer, double& draft_s);
  void passed_plainly(const DraftOffer& offer, double seconds, double draft_s);

  CheckingSource& model_;
  std::unique_ptr<DraftSource> drafts_;
  std::size_t most_ids_;
  std::size_t cached_;
  std::function<double()> clock_;
  std::vector<std::int32_t> history_;
  std::optional<Checked> checked_;  // the last pass, where it checked anything
  bool gives_likeliest_ = false;
  SpeculationControl control_;
};

}  // namespace shoehorn
