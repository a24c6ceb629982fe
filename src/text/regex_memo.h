// What a backtracking search has found out about a text: states that lead nowhere, and states from
// which a look-around holds. With it the search is linear in the text for patterns without
// back-references, instead of exponential.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shoehorn::text {

/// A set of (instruction, position). Stops growing at a few million entries: it only saves time.
class StateSet {
 public:
  void clear();
  void insert(std::uint32_t pc, std::size_t position);
  bool contains(std::uint32_t pc, std::size_t position) const {
    if (slots_.empty()) return false;
    const std::uint64_t state = state_of(pc, position);
    for (std::size_t at = slot_of(state);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at] == state) return true;
      if (slots_[at] == kFree) return false;
    }
  }

 private:
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};
  static std::uint64_t state_of(std::uint32_t pc, std::size_t position) {
    return static_cast<std::uint64_t>(pc) << 32 | static_cast<std::uint32_t>(position);
  }
  std::size_t slot_of(std::uint64_t state) const;
  void place(std::uint64_t state);

  std::vector<std::uint64_t> slots_;
  std::size_t size_ = 0;
};

/// Keeps track of the choices that are being explored. A search works with a stack of frames; when
/// it takes one up, it opens it here with the height of the stack at that moment, and when the
/// stack is about to fall to that height, all that came of it has failed.
class RegexMemo {
 public:
  static constexpr std::uint32_t kNoOrigin = 0xFFFFFFFF;

  void clear();
  bool failed(std::uint32_t pc, std::size_t position) const {
    return failed_.contains(pc, position);
  }
  void fail(std::uint32_t pc, std::size_t position) { failed_.insert(pc, position); }
  /// `origin` is the split whose second way `pc` is; its first way has failed before.
  void open(std::uint32_t pc, std::uint32_t origin, std::size_t position, std::size_t height) {
    open_.push_back({pc, origin, position, height});
  }
  /// Choices that were open when a part of the search began.
  std::size_t opened() const { return open_.size(); }
  /// The search takes the next frame from a stack of `height`: choices above it have failed, down
  /// to those that were open before.
  void close(std::size_t height, std::size_t opened_before);
  /// A part of the search succeeded: nothing is known of what it left open.
  void drop(std::size_t opened_before) { open_.resize(opened_before); }

  /// States from which the body of a look-around matches, wherever it ends.
  StateSet& succeeded() { return succeeded_; }

 private:
  struct Choice {
    std::uint32_t pc;
    std::uint32_t origin;
    std::size_t position;
    std::size_t height;
  };
  StateSet failed_;
  StateSet succeeded_;
  std::vector<Choice> open_;
};

}  // namespace shoehorn::text
