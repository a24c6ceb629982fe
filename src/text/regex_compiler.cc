// Code generation. Alternatives and loops carry the set of characters they can start with, so the
// matcher seldom has to try and come back.
#include "text/regex_compiler.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/unicode_data.h"

namespace shoehorn::text {
namespace {

constexpr std::size_t kMaxGuardedAlternatives = 64;
constexpr std::size_t kMaxInstructions = 100'000;

// Bounds on how many characters a node matches.
struct LengthRange {
  std::uint64_t min = 0;
  std::uint64_t max = 0;
};

constexpr std::uint64_t kMaxLength = RegexProgram::kUnlimited;

std::uint64_t bounded_product(std::uint64_t a, std::uint64_t b) {
  return a != 0 && b > kMaxLength / a ? kMaxLength : a * b;
}

LengthRange length_of(const RegexNode& node) {
  switch (node.kind) {
    case RegexNode::kEmpty:
    case RegexNode::kLook:
    case RegexNode::kAssert: return {0, 0};
    case RegexNode::kSet: return {1, 1};
    case RegexNode::kGraphemeCluster: return {1, kMaxLength};
    case RegexNode::kBackreference: return {0, kMaxLength};
    case RegexNode::kCapture:
    case RegexNode::kAtomic: return length_of(*node.children[0]);
    case RegexNode::kConcat: {
      LengthRange sum;
      for (const auto& child : node.children) {
        const LengthRange length = length_of(*child);
        sum.min = std::min(kMaxLength, sum.min + length.min);
        sum.max = std::min(kMaxLength, sum.max + length.max);
      }
      return sum;
    }
    case RegexNode::kAlternate: {
      LengthRange range{kMaxLength, 0};
      for (const auto& child : node.children) {
        const LengthRange length = length_of(*child);
        range.min = std::min(range.min, length.min);
        range.max = std::max(range.max, length.max);
      }
      return range;
    }
    case RegexNode::kRepeat: {
      const LengthRange length = length_of(*node.children[0]);
      const bool unlimited = node.max == RegexNode::kUnlimited;
      const auto max = unlimited ? kMaxLength : static_cast<std::uint64_t>(node.max);
      return {bounded_product(length.min, static_cast<std::uint64_t>(node.min)),
              bounded_product(length.max, max)};
    }
  }
  return {0, kMaxLength};
}

// Collects the characters that a match of a node can start with. Gives up, which is always right,
// where the node can match nothing or where looking further would take long.
class FirstSet {
 public:
  // False: no statement can be made.
  bool collect(const RegexNode& node) {
    const Result result = visit(node);
    return result == kConsumes;
  }
  const CodePointSet& set() const { return set_; }

 private:
  enum Result { kConsumes, kCanBeEmpty, kUnknown };

  Result visit(const RegexNode& node) {
    if (++steps_ > 64) return kUnknown;
    switch (node.kind) {
      case RegexNode::kEmpty:
      case RegexNode::kLook:
      case RegexNode::kAssert: return kCanBeEmpty;
      case RegexNode::kSet: set_.unite(node.set); return kConsumes;
      case RegexNode::kCapture:
      case RegexNode::kAtomic: return visit(*node.children[0]);
      case RegexNode::kConcat:
        for (const auto& child : node.children) {
          const Result result = visit(*child);
          if (result != kCanBeEmpty) return result;
        }
        return kCanBeEmpty;
      case RegexNode::kAlternate: {
        Result worst = kConsumes;
        for (const auto& child : node.children) worst = std::max(worst, visit(*child));
        return worst;
      }
      case RegexNode::kRepeat: {
        const Result result = visit(*node.children[0]);
        return node.min == 0 ? std::max(result, kCanBeEmpty) : result;
      }
      case RegexNode::kBackreference:
      case RegexNode::kGraphemeCluster: return kUnknown;
    }
    return kUnknown;
  }

  CodePointSet set_;
  int steps_ = 0;
};

std::uint32_t repeat_limit(int max) {
  return max == RegexNode::kUnlimited ? RegexProgram::kUnlimited : static_cast<std::uint32_t>(max);
}

}  // namespace

void RegexCompiler::compile(const RegexTree& tree) {
  has_backreference_ = tree.has_backreference;
  if (has_backreference_) {
    program_.capture_registers_ = 2 * (static_cast<std::size_t>(tree.capture_count) + 1);
  }
  compile_node(*tree.root);
  emit({.op = Instruction::kMatch});
  keep_what_ends_a_match();
  program_.first_set_ = guard(*tree.root);
  program_.build_symbols(sets_);
}

// A repetition with nothing after it but the end never has to give back. Only a look-behind, which
// has to end at a given place, may ask it to.
void RegexCompiler::keep_what_ends_a_match() {
  std::uint32_t behind_end = 0;
  for (std::uint32_t pc = 0; pc < here(); ++pc) {
    Instruction& instruction = code(pc);
    if (instruction.op == Instruction::kLook && instruction.behind) {
      behind_end = std::max(behind_end, instruction.x);
    }
    if (instruction.op != Instruction::kRepeat || pc < behind_end) continue;
    std::uint32_t next = pc + 1;
    while (code(next).op == Instruction::kJump) next = code(next).x;
    if (code(next).op == Instruction::kMatch) instruction.op = Instruction::kRepeatAtomic;
  }
}

std::uint32_t RegexCompiler::emit(const Instruction& instruction) {
  if (program_.code_.size() >= kMaxInstructions) {
    throw FormatError(str_cat("a regular expression that needs more than ", kMaxInstructions,
                              " instructions is more than we support"));
  }
  program_.code_.push_back(instruction);
  return here() - 1;
}

std::uint32_t RegexCompiler::set_index(const CodePointSet& set) {
  std::vector<char32_t> key;
  for (const auto& range : set.ranges()) key.insert(key.end(), {range.first, range.last});
  const auto [entry, added] =
      set_indexes_.try_emplace(std::move(key), static_cast<std::uint32_t>(sets_.size()));
  if (added) sets_.push_back(set);
  return entry->second;
}

std::uint32_t RegexCompiler::guard(const RegexNode& node) {
  FirstSet first;
  return first.collect(node) ? set_index(first.set()) : kNoSet;
}

void RegexCompiler::compile_node(const RegexNode& node) {
  switch (node.kind) {
    case RegexNode::kEmpty: return;
    case RegexNode::kSet: return compile_set(node);
    case RegexNode::kConcat:
      for (const auto& child : node.children) compile_node(*child);
      return;
    case RegexNode::kAlternate: return compile_alternate(node);
    case RegexNode::kRepeat: return compile_repeat(node);
    case RegexNode::kCapture: return compile_capture(node);
    case RegexNode::kAtomic: return compile_atomic(node);
    case RegexNode::kLook: return compile_look(node);
    case RegexNode::kAssert: return compile_assert(node);
    case RegexNode::kBackreference:
      emit({.op = Instruction::kBackreference, .x = static_cast<std::uint32_t>(node.number)});
      return;
    case RegexNode::kGraphemeCluster: emit({.op = Instruction::kGraphemeCluster}); return;
  }
}

void RegexCompiler::compile_set(const RegexNode& node) {
  const auto ranges = node.set.ranges();
  if (ranges.size() == 1 && ranges[0].first == ranges[0].last && ranges[0].first < 0x80) {
    emit({.op = Instruction::kByte, .x = ranges[0].first});
  } else {
    emit({.op = Instruction::kSet, .set = set_index(node.set)});
  }
}

// For each child the index of what it and its later siblings can start with; kNoSet where unknown.
std::vector<std::uint32_t> RegexCompiler::guards_from_each(
    const RegexNode& node, const std::vector<std::uint32_t>& first) {
  std::vector<std::uint32_t> guards(first.size(), kNoSet);
  if (node.children.size() > kMaxGuardedAlternatives) return guards;
  CodePointSet all;
  for (std::size_t i = first.size(); i-- > 0 && first[i] != kNoSet;) {
    all.unite(sets_[first[i]]);
    guards[i] = set_index(all);
  }
  return guards;
}

void RegexCompiler::compile_alternate(const RegexNode& node) {
  std::vector<std::uint32_t> first;
  for (const auto& child : node.children) first.push_back(guard(*child));
  const std::vector<std::uint32_t> rest = guards_from_each(node, first);
  std::vector<std::uint32_t> jumps;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const bool last = i + 1 == node.children.size();
    std::uint32_t split = 0;
    if (!last) {
      split = emit(
          {.op = Instruction::kSplit, .x = here() + 1, .set = first[i], .other_set = rest[i + 1]});
    }
    compile_node(*node.children[i]);
    if (last) break;
    jumps.push_back(emit({.op = Instruction::kJump}));
    code(split).y = here();
  }
  for (const std::uint32_t jump : jumps) code(jump).x = here();
}

void RegexCompiler::compile_repeat(const RegexNode& node) {
  const RegexNode& body = *node.children[0];
  if (body.kind == RegexNode::kSet && node.greedy) {
    emit({.op = Instruction::kRepeat,
          .set = set_index(body.set),
          .min = static_cast<std::uint32_t>(node.min),
          .max = repeat_limit(node.max)});
    return;
  }
  const bool unlimited = node.max == RegexNode::kUnlimited;
  for (int i = 0; i < node.min - (unlimited ? 1 : 0); ++i) compile_node(body);
  if (unlimited) return compile_unlimited(node, node.min > 0);
  // What may follow is nested: (body(body(...)?)?)?
  std::vector<std::uint32_t> splits;
  const std::uint32_t first = guard(body);
  for (int i = node.min; i < node.max; ++i) {
    splits.push_back(emit({.op = Instruction::kSplit}));
    code(splits.back()).x = here();
    compile_node(body);
  }
  for (const std::uint32_t split : splits) {
    Instruction& instruction = code(split);
    instruction.y = here();
    (node.greedy ? instruction.set : instruction.other_set) = first;
    if (!node.greedy) std::swap(instruction.x, instruction.y);
  }
}

void RegexCompiler::compile_unlimited(const RegexNode& node, bool at_least_once) {
  const RegexNode& body = *node.children[0];
  const bool can_be_empty = length_of(body).min == 0;
  const std::uint32_t first = guard(body);
  const auto loop = static_cast<std::uint32_t>(program_.loop_registers_);
  if (can_be_empty) ++program_.loop_registers_;

  std::uint32_t entry = 0;
  if (!at_least_once) entry = emit({.op = Instruction::kSplit});
  const std::uint32_t begin = here();
  if (can_be_empty) emit({.op = Instruction::kLoopBegin, .x = loop});
  compile_node(body);
  std::uint32_t check = 0;
  if (can_be_empty) check = emit({.op = Instruction::kLoopEnd, .x = loop});
  const std::uint32_t again = emit({.op = Instruction::kSplit});
  if (can_be_empty) code(check).y = here();

  const auto choose = [&](std::uint32_t pc) {
    Instruction& instruction = code(pc);
    instruction.x = begin;
    instruction.y = here();
    (node.greedy ? instruction.set : instruction.other_set) = first;
    if (!node.greedy) std::swap(instruction.x, instruction.y);
  };
  choose(again);
  if (!at_least_once) choose(entry);
}

void RegexCompiler::compile_capture(const RegexNode& node) {
  if (!has_backreference_) return compile_node(*node.children[0]);
  const auto group = static_cast<std::uint32_t>(node.number);
  emit({.op = Instruction::kSave, .x = 2 * group});
  compile_node(*node.children[0]);
  emit({.op = Instruction::kSave, .x = 2 * group + 1});
}

void RegexCompiler::compile_atomic(const RegexNode& node) {
  const RegexNode& body = *node.children[0];
  if (body.kind == RegexNode::kRepeat && body.greedy && body.children[0]->kind == RegexNode::kSet) {
    compile_repeat(body);
    program_.code_.back().op = Instruction::kRepeatAtomic;
    return;
  }
  const std::uint32_t atomic = emit({.op = Instruction::kAtomic});
  compile_node(body);
  emit({.op = Instruction::kMatch});
  code(atomic).x = here();
}

void RegexCompiler::compile_look(const RegexNode& node) {
  const LengthRange length = length_of(*node.children[0]);
  const std::uint32_t look = emit({.op = Instruction::kLook,
                                   .negative = node.negative,
                                   .behind = node.behind,
                                   .min = static_cast<std::uint32_t>(length.min),
                                   .max = static_cast<std::uint32_t>(length.max)});
  compile_node(*node.children[0]);
  emit({.op = Instruction::kMatch});
  code(look).x = here();
}

void RegexCompiler::compile_assert(const RegexNode& node) {
  using Position = RegexNode::Position;
  if (node.position == Position::kWordBoundary || node.position == Position::kNotWordBoundary) {
    program_.word_set_ = set_index(word_set());
  }
  emit({.op = Instruction::kAssert, .x = static_cast<std::uint32_t>(node.position)});
}

}  // namespace shoehorn::text
