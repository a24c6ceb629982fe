// Searching with a compiled regular expression: a backtracking matcher with a budget of steps, so a
// pattern from a hostile file ends in an error instead of running for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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
    std::size_t floor;     // kGiveBack: the least position
  };
  static constexpr std::size_t kAnywhere = ~std::size_t{0};

  bool find_from(std::size_t start, RegexMatch& match);
  // Runs from `pc` at `position`. True with the end of the match in `end`, which has to be
  // `required_end` unless that is kAnywhere.
  bool run(std::uint32_t pc, std::size_t position, std::size_t required_end, std::size_t& end);
  bool backtrack(std::size_t base, std::uint32_t& pc, std::size_t& position);
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
  std::size_t budget_;  // steps that are left
  std::vector<Frame> frames_;
  std::vector<std::size_t> loops_;
  std::vector<std::size_t> captures_;
};

}  // namespace shoehorn::text
