// What may be said next where the output has to follow a grammar.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace shoehorn {

/// The state of one sequence. Not thread-safe.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  /// Sets the logits [vocab] of tokens that may not come next to -inf.
  virtual void restrict(std::span<float> logits) = 0;
  /// Takes the id that was chosen.
  virtual void accept(std::int32_t id) = 0;
  /// Whether the text is complete and nothing can follow.
  virtual bool is_complete() = 0;
  /// Another sequence in the same state.
  virtual std::unique_ptr<TokenConstraint> clone() const = 0;
};

}  // namespace shoehorn
