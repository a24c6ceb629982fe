// A regular expression as instructions for a backtracking matcher. Characters are first mapped to
// symbols: two characters share a symbol if every set of the pattern holds both or neither, so a
// set test is one table lookup whatever the set.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "text/code_point_set.h"
#include "text/regex_syntax.h"
#include "text/utf8.h"

namespace shoehorn::text {

inline constexpr std::uint32_t kNoSet = 0xFFFFFFFF;

struct RegexInstruction {
  enum Op : std::uint8_t {
    kByte,           // the ASCII character `x`
    kSet,            // one character of `set`
    kRepeat,         // min to max characters of `set`, as many as possible, giving back
    kRepeatAtomic,   // the same without giving back
    kSplit,          // try x, then y; `set` and `other_set` say what they can start with
    kJump,           // to x
    kSave,           // the position into capture register x
    kAssert,         // RegexNode::Position x
    kLook,           // the program after this one matches here (or not); go on at x
    kAtomic,         // the program after this one, its first way only; go on at x
    kBackreference,  // the text of group x
    kGraphemeCluster,
    kLoopBegin,  // the position into loop register x
    kLoopEnd,    // leave the loop, to y, if nothing was consumed since kLoopBegin x
    kMatch
  };
  Op op = kMatch;
  bool negative = false;
  bool behind = false;
  std::uint32_t x = 0;
  std::uint32_t y = 0;
  std::uint32_t set = kNoSet;
  std::uint32_t other_set = kNoSet;
  std::uint32_t min = 0;
  std::uint32_t max = 0;
};

/// Immutable once compiled; thread-safe.
class RegexProgram {
 public:
  static constexpr std::uint32_t kUnlimited = std::numeric_limits<std::uint32_t>::max();

  /// Throws FormatError (without a file) for a pattern that is wrong or needs too large a program.
  explicit RegexProgram(std::string_view pattern);

  const RegexInstruction& at(std::uint32_t pc) const { return code_[pc]; }
  std::size_t size() const { return code_.size(); }
  /// Registers for captures (two a group, in use only if there is a back-reference) and loops.
  std::size_t capture_registers() const { return capture_registers_; }
  std::size_t loop_registers() const { return loop_registers_; }
  /// Characters that a match can start with; kNoSet if any, or if it can be empty.
  std::uint32_t first_set() const { return first_set_; }
  /// The set \w, for word boundaries; kNoSet if the pattern has none.
  std::uint32_t word_set() const { return word_set_; }

  /// The symbol of the character at `p`, valid UTF-8, and in `length` its bytes.
  std::uint32_t symbol(const char* p, std::size_t& length) const {
    const auto lead = static_cast<unsigned char>(*p);
    if (lead < 0x80) {
      length = 1;
      return ascii_[lead];
    }
    const char32_t c = decode_utf8(p, length);
    return symbols_[symbol_index_[c >> 8] + (c & 255)];
  }
  bool in_set(std::uint32_t set, std::uint32_t symbol) const {
    return members_[set * symbol_count_ + symbol] != 0;
  }

 private:
  friend class RegexCompiler;
  void build_symbols(const std::vector<CodePointSet>& sets);

  std::vector<RegexInstruction> code_;
  std::size_t capture_registers_ = 0;
  std::size_t loop_registers_ = 0;
  std::uint32_t first_set_ = kNoSet;
  std::uint32_t word_set_ = kNoSet;

  std::array<std::uint16_t, 128> ascii_{};
  std::vector<std::uint32_t> symbol_index_;  // by code point / 256: offset into symbols_
  std::vector<std::uint16_t> symbols_;
  std::size_t symbol_count_ = 0;
  std::vector<std::uint8_t> members_;  // [sets, symbol_count_]
};

}  // namespace shoehorn::text
