// Follows a grammar byte by byte: a pushdown automaton whose states are the sets of ways that the
// bytes so far can be read, numbered as they are met and remembered with where each byte leads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "generate/grammar.h"

namespace shoehorn {

/// Grows as it is used; not thread-safe.
class GrammarMatcher {
 public:
  /// The number of a state; equal numbers are equal states.
  using State = std::uint32_t;

  explicit GrammarMatcher(Grammar grammar);

  /// Before the first byte.
  State start() const { return start_; }
  /// After one more byte; nothing where it cannot follow. Throws UnsupportedError where a grammar
  /// is so ambiguous that its states are too many or too large.
  std::optional<State> next(State state, std::uint8_t byte);
  /// Whether the bytes so far are a whole text of the grammar.
  bool may_end(State state) const { return states_[state].may_end; }

 private:
  /// A symbol that is to be matched, and where to go on after its rule: a stack that shares its
  /// lower part with others.
  using Stack = std::uint32_t;
  static constexpr Stack kNoStack = 0xFFFFFFFF;
  struct StackNode {
    std::uint32_t symbol;
    Stack below;
  };
  struct StateData {
    std::vector<Stack> stacks;  // sorted; on top of each a kBytes symbol
    bool may_end = false;
  };

  Stack stack(std::uint32_t symbol, Stack below);
  /// All stacks that `from` stands for once rules are replaced by their alternatives.
  void expand(std::vector<Stack> from, StateData& out);
  State intern(StateData data);

  Grammar grammar_;
  std::vector<StackNode> nodes_;
  std::unordered_map<std::uint64_t, Stack> node_index_;
  std::vector<StateData> states_;
  std::map<std::vector<Stack>, State> state_index_[2];  // by may_end
  std::unordered_map<std::uint64_t, State> edges_;      // state and byte; kNoState: none
  State start_ = 0;
};

}  // namespace shoehorn
