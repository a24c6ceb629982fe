// Turns the syntax tree of a regular expression into a RegexProgram.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "text/regex_program.h"
#include "text/regex_syntax.h"

namespace shoehorn::text {

class RegexCompiler {
 public:
  explicit RegexCompiler(RegexProgram& program) : program_(program) {}

  /// Fills the program. Throws FormatError if it grows too large.
  void compile(const RegexTree& tree);

 private:
  using Instruction = RegexInstruction;

  std::uint32_t here() const { return static_cast<std::uint32_t>(program_.code_.size()); }
  std::uint32_t emit(const Instruction& instruction);
  Instruction& code(std::uint32_t pc) { return program_.code_[pc]; }
  std::uint32_t set_index(const CodePointSet& set);
  /// Index of the characters `node` can start with, kNoSet if that says nothing.
  std::uint32_t guard(const RegexNode& node);

  std::vector<std::uint32_t> guards_from_each(const RegexNode& node,
                                              const std::vector<std::uint32_t>& first);
  void keep_what_ends_a_match();

  void compile_node(const RegexNode& node);
  void compile_set(const RegexNode& node);
  void compile_alternate(const RegexNode& node);
  void compile_repeat(const RegexNode& node);
  void compile_unlimited(const RegexNode& node, bool at_least_once);
  void compile_capture(const RegexNode& node);
  void compile_atomic(const RegexNode& node);
  void compile_look(const RegexNode& node);
  void compile_assert(const RegexNode& node);

  RegexProgram& program_;
  bool has_backreference_ = false;
  std::vector<CodePointSet> sets_;
  std::map<std::vector<char32_t>, std::uint32_t> set_indexes_;
};

}  // namespace shoehorn::text
