// Searching with a compiled regular expression: a backtracking matcher with a budget of steps, so a
// pattern from a hostile file ends in an error instead of running for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex_memo.h"
#include "text/regex_program.h"

namespace shoehorn::text {

/// Immutable, thread-safe.
class Regex {
 public:
  /// Throws FormatError (without a file) that shows the pattern and what is wrong with it.
  explicit Regex(std::string_view pattern) : pattern_(pattern), program_(pattern) {}

  const std::string& pattern() const { return pattern_; }
  const RegexProgram& program() const { return program_; }

 private:
  std::string pattern_;
  RegexProgram program_;
};

struct RegexMatch {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Finds the matches in one text after the other, from left to right, not overlapping; an empty
/// match is left out where it touches the match before it. Borrows the regex.
class RegexSearch {
 public:
  explicit RegexSearch(const Regex& regex);

  /// Goes to another text, valid UTF-8, which has to live while it is searched.
  void start(std::string_view text);

  /// False when there is no further match. Throws UnsupportedError naming the pattern if the
  /// search takes more than about a thousand steps a byte of all texts so far.
  bool next(RegexMatch& match);

 private:
  struct Frame {
    enum Kind : std::uint8_t { kResume, kGiveBack, kRestoreLoop, kRestoreCapture };
    Kind kind;
    std::uint32_t pc;      // where to go on; for kRestore* the register
    std::size_t position;  // for kRestore* the former value
    std::size_t floor;     // kGiveBack: the least position; kResume: the split it comes from
  };
  static constexpr std::size_t kAnywhere = ~std::size_t{0};

  // A search from one place: the whole pattern, or the inside of a look-around or atomic group.
  struct Run {
    std::size_t required_end = kAnywhere;  // where it has to end
    bool only_whether = false;             // where it ends does not matter
    std::size_t base = 0;                  // frames that belong to the search around it
    std::size_t opened = 0;                // the same for the memo
  };

  bool find_from(std::size_t start, RegexMatch& match);
  std::size_t skip_hopeless(std::size_t start) const;
  // Runs from `pc` at `position`. True with the end of the match in `end`.
  bool run(Run run, std::uint32_t pc, std::size_t position, std::size_t& end);
  bool split(const Run& run, const RegexInstruction& at, std::uint32_t& pc, std::size_t position);
  void succeed(const Run& run);
  void consider_memo() {
    // What happens inside loops that can be empty depends on more than the state.
    if (budget_ < memo_from_ && loops_.empty() && captures_.empty()) memo_on_ = true;
  }
  bool uses_memo(const Run& run) const { return memo_on_ && run.required_end == kAnywhere; }
  bool backtrack(const Run& run, std::uint32_t& pc, std::size_t& position);
  bool pop_frame(std::uint32_t& pc, std::size_t& position, std::uint32_t& origin);
  bool repeat(const RegexInstruction& instruction, std::uint32_t pc, std::size_t& position);
  bool look(const RegexInstruction& instruction, std::uint32_t pc, std::size_t position);
  bool assertion(RegexNode::Position kind, std::size_t position) const;
  bool is_word_at(std::size_t position) const;
  bool can_start(std::uint32_t set, std::size_t position) const {
    if (position >= text_.size()) return false;
    std::size_t length;
    return program_.in_set(set, program_.symbol(text_.data() + position, length));
  }
  bool backreference(std::uint32_t group, std::size_t& position) const;
  void set_register(std::vector<std::size_t>& registers, Frame::Kind kind, std::uint32_t index,
                    std::size_t value);
  void drop_frames(std::size_t base);
  void spend(std::size_t steps) {
    if (budget_ < steps) fail_budget();
    budget_ -= steps;
  }
  [[noreturn]] void fail_budget() const;

  const Regex& regex_;
  const RegexProgram& program_;
  std::string_view text_;
  std::size_t position_ = 0;
  std::size_t last_end_ = kAnywhere;
  std::size_t budget_;         // steps that are left
  std::size_t memo_from_ = 0;  // remember what failed once the budget is down to this
  bool memo_on_ = false;
  RegexMemo memo_;
  std::vector<Frame> frames_;
  std::vector<std::size_t> loops_;
  std::vector<std::size_t> captures_;
};

}  // namespace shoehorn::text
