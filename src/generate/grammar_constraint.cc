#include "generate/grammar_constraint.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "shoehorn/error.h"

#include "generate/grammar_matcher.h"

namespace shoehorn {
namespace {

constexpr std::size_t kMaxMasks = 1024;  // remembered at a time

/// What all sequences of a generation share: the vocabulary in the order of its bytes, the
/// automaton and, for states met before, the tokens that may follow.
class Vocabulary {
 public:
  using State = GrammarMatcher::State;
  using Mask = std::vector<bool>;  // by id

  Vocabulary(Grammar grammar, const std::vector<std::optional<std::string>>& token_bytes,
             std::span<const std::int32_t> eos)
      : matcher_(std::move(grammar)), token_bytes_(token_bytes), eos_(eos.begin(), eos.end()) {
    for (std::size_t id = 0; id < token_bytes_.size(); ++id) {
      const bool is_text = token_bytes_[id] && !token_bytes_[id]->empty() &&
                           std::ranges::find(eos_, static_cast<std::int32_t>(id)) == eos_.end();
      if (is_text) order_.push_back(static_cast<std::int32_t>(id));
    }
    std::ranges::sort(order_, [&](std::int32_t a, std::int32_t b) { return text(a) < text(b); });
  }

  State start() const { return matcher_.start(); }

  const Mask& allowed(State state) {
    if (masks_.size() >= kMaxMasks) masks_.clear();
    const auto [found, is_new] = masks_.try_emplace(state);
    if (is_new) found->second = compute(state);
    return found->second;
  }

  bool is_complete(State state) {
    if (!matcher_.may_end(state)) return false;
    const Mask& mask = allowed(state);
    return std::ranges::none_of(
        order_, [&](std::int32_t id) { return mask[static_cast<std::size_t>(id)]; });
  }

  State after(State state, std::int32_t id) {
    if (std::ranges::find(eos_, id) != eos_.end()) return state;
    for (const char byte : text(id)) {
      const auto next = matcher_.next(state, static_cast<std::uint8_t>(byte));
      if (!next) throw Error("a token that the grammar does not allow was chosen");
      state = *next;
    }
    return state;
  }

 private:
  std::string_view text(std::int32_t id) const {
    return *token_bytes_[static_cast<std::size_t>(id)];
  }

  /// Walks over the tokens in the order of their bytes: what a token shares with the one before is
  /// not matched again, and a prefix that does not fit rules out all that begin with it.
  Mask compute(State state) {
    Mask mask(token_bytes_.size(), false);
    std::vector<State> path = {state};  // after so many bytes of `before`
    std::string_view before;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const std::string_view bytes = text(order_[i]);
      const auto shared =
          static_cast<std::size_t>(std::ranges::mismatch(before, bytes).in2 - bytes.begin());
      path.resize(std::min(path.size(), shared + 1));
      before = bytes;
      // Where less of the shared bytes fitted than there are, the rest cannot fit either.
      if (path.size() <= shared) continue;
      std::size_t at = path.size() - 1;
      for (; at < bytes.size(); ++at) {
        const auto next = matcher_.next(path.back(), static_cast<std::uint8_t>(bytes[at]));
        if (!next) break;
        path.push_back(*next);
      }
      if (at == bytes.size()) mask[static_cast<std::size_t>(order_[i])] = true;
    }
    for (const std::int32_t id : eos_) {
      if (static_cast<std::size_t>(id) < mask.size()) {
        mask[static_cast<std::size_t>(id)] = matcher_.may_end(state);
      }
    }
    return mask;
  }

  GrammarMatcher matcher_;
  std::vector<std::optional<std::string>> token_bytes_;
  std::vector<std::int32_t> eos_;
  std::vector<std::int32_t> order_;  // ids of text by their bytes
  std::unordered_map<State, Mask> masks_;
};

class GrammarConstraint final : public TokenConstraint {
 public:
  explicit GrammarConstraint(std::shared_ptr<Vocabulary> vocabulary)
      : vocabulary_(std::move(vocabulary)), state_(vocabulary_->start()) {}

  void restrict(std::span<float> logits) override {
    const Vocabulary::Mask& allowed = vocabulary_->allowed(state_);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (i >= allowed.size() || !allowed[i]) logits[i] = -std::numeric_limits<float>::infinity();
    }
  }
  void accept(std::int32_t id) override { state_ = vocabulary_->after(state_, id); }
  bool is_complete() override { return vocabulary_->is_complete(state_); }
  std::unique_ptr<TokenConstraint> clone() const override {
    return std::make_unique<GrammarConstraint>(*this);
  }

 private:
  std::shared_ptr<Vocabulary> vocabulary_;  // shared with the constraints cloned from this one
  GrammarMatcher::State state_;
};

}  // namespace

std::unique_ptr<TokenConstraint> make_grammar_constraint(
    Grammar grammar, const std::vector<std::optional<std::string>>& token_bytes,
    std::span<const std::int32_t> eos_token_id) {
  return std::make_unique<GrammarConstraint>(
      std::make_shared<Vocabulary>(std::move(grammar), token_bytes, eos_token_id));
}

}  // namespace shoehorn
