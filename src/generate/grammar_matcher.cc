#include "generate/grammar_matcher.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

constexpr std::size_t kMaxStacks = 1 << 14;  // of a state
constexpr std::size_t kMaxNodes = std::size_t{8} << 20;
constexpr std::size_t kMaxEdges = std::size_t{4} << 20;
constexpr std::uint32_t kNoState = 0xFFFFFFFF;

}  // namespace

GrammarMatcher::GrammarMatcher(Grammar grammar) : grammar_(std::move(grammar)) {
  std::vector<Stack> from;
  StateData data;
  for (const std::uint32_t alternative : grammar_.rules[grammar_.root]) {
    from.push_back(stack(alternative, kNoStack));
  }
  expand(std::move(from), data);
  start_ = intern(std::move(data));
}

GrammarMatcher::Stack GrammarMatcher::stack(std::uint32_t symbol, Stack below) {
  const std::uint64_t key = std::uint64_t{symbol} << 32U | below;
  const auto [found, is_new] = node_index_.try_emplace(key, static_cast<Stack>(nodes_.size()));
  if (!is_new) return found->second;
  if (nodes_.size() >= kMaxNodes) {
    throw UnsupportedError("the grammar is nested too deeply or too ambiguous to be followed");
  }
  nodes_.push_back({symbol, below});
  return found->second;
}

void GrammarMatcher::expand(std::vector<Stack> from, StateData& out) {
  std::unordered_set<Stack> seen(from.begin(), from.end());
  const auto add = [&](Stack next) {
    if (!seen.insert(next).second) return;
    if (seen.size() > kMaxStacks) {
      throw UnsupportedError("the grammar is too ambiguous: a text has too many readings");
    }
    from.push_back(next);
  };
  while (!from.empty()) {
    const Stack top = from.back();
    from.pop_back();
    const StackNode node = nodes_[top];
    const Grammar::Symbol& symbol = grammar_.symbols[node.symbol];
    switch (symbol.kind) {
      case Grammar::Symbol::Kind::kBytes: out.stacks.push_back(top); break;
      case Grammar::Symbol::Kind::kEnd:
        if (node.below == kNoStack) {
          out.may_end = true;
        } else {
          add(node.below);
        }
        break;
      case Grammar::Symbol::Kind::kRule: {
        // The last symbol of an alternative leaves nothing to come back to: lists stay flat.
        const std::uint32_t after = node.symbol + 1;
        const bool last = grammar_.symbols[after].kind == Grammar::Symbol::Kind::kEnd;
        const Stack below = last ? node.below : stack(after, node.below);
        for (const std::uint32_t alternative : grammar_.rules[symbol.rule]) {
          add(stack(alternative, below));
        }
        break;
      }
    }
  }
  std::ranges::sort(out.stacks);
}

GrammarMatcher::State GrammarMatcher::intern(StateData data) {
  auto& index = state_index_[data.may_end ? 1 : 0];
  const auto [found, is_new] = index.try_emplace(data.stacks, static_cast<State>(states_.size()));
  if (is_new) states_.push_back(std::move(data));
  return found->second;
}

std::optional<GrammarMatcher::State> GrammarMatcher::next(State state, std::uint8_t byte) {
  const std::uint64_t key = std::uint64_t{state} << 8U | byte;
  if (const auto known = edges_.find(key); known != edges_.end()) {
    if (known->second == kNoState) return std::nullopt;
    return known->second;
  }
  std::vector<Stack> from;
  for (const Stack top : states_[state].stacks) {
    const StackNode node = nodes_[top];
    const Grammar::Symbol& symbol = grammar_.symbols[node.symbol];
    if (byte >= symbol.low && byte <= symbol.high) {
      from.push_back(stack(node.symbol + 1, node.below));
    }
  }
  std::uint32_t result = kNoState;
  if (!from.empty()) {
    StateData data;
    expand(std::move(from), data);
    result = intern(std::move(data));
  }
  if (edges_.size() < kMaxEdges) edges_.emplace(key, result);
  if (result == kNoState) return std::nullopt;
  return result;
}

}  // namespace shoehorn
