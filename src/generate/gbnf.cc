#include "generate/gbnf.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "generate/utf8_ranges.h"

namespace shoehorn {
namespace {

constexpr std::size_t kMaxText = std::size_t{1} << 20;
constexpr std::size_t kMaxSymbols = std::size_t{1} << 20;
constexpr std::size_t kMaxRules = std::size_t{1} << 18;
constexpr int kMaxNesting = 64;
constexpr std::uint32_t kMaxRepetitions = 4096;
constexpr std::uint32_t kUnbounded = 0xFFFFFFFF;

using Symbol = Grammar::Symbol;
using Sequence = std::vector<Symbol>;

class Parser {
 public:
  Parser(std::string_view text, const std::string& name) : text_(text), name_(name) {
    if (text.size() > kMaxText) fail(str_cat("has more than ", kMaxText, " bytes"));
  }

  Grammar parse() {
    skip_space(/*lines=*/true);
    while (at_ < text_.size()) parse_rule();
    require_defined();
    grammar_.root = rules_.at("root");
    return std::move(grammar_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const auto end = text_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, text_.size()));
    const auto line = std::count(text_.begin(), end, '\n') + 1;
    throw FormatError(
        str_cat(name_, ": line ", line, rule_.empty() ? "" : ", rule " + rule_, ": ", what));
  }

  // Characters.

  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool take(std::string_view expected) {
    if (!text_.substr(std::min(at_, text_.size())).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  void skip_space(bool lines) {
    while (!at_end()) {
      const char c = peek();
      if (c == '#') {
        while (!at_end() && peek() != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r' || (lines && c == '\n')) {
        ++at_;
      } else {
        return;
      }
    }
  }
  static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  }
  std::string parse_name() {
    const std::size_t start = at_;
    while (!at_end() && is_name(peek())) ++at_;
    if (at_ == start) fail("a rule's name was expected");
    return std::string(text_.substr(start, at_ - start));
  }
  std::uint32_t hex(std::size_t digits) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail(str_cat("an escape needs ", digits, " hexadecimal digits"));
      value = value * 16 + static_cast<std::uint32_t>(digit);
    }
    return value;
  }
  char32_t parse_escape() {
    const char c = peek();
    ++at_;
    switch (c) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'x': return hex(2);
      case 'u': return hex(4);
      case 'U': return hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^': return static_cast<char32_t>(c);
      default: fail("a backslash is followed by none of n r t x u U \\ \" [ ] - ^");
    }
  }
  /// One character, escaped or in UTF-8.
  char32_t parse_character() {
    if (at_end()) fail("ends inside a literal or a class");
    char32_t c = 0;
    if (take("\\")) {
      if (at_end()) fail("ends inside an escape");
      c = parse_escape();
    } else {
      c = parse_utf8();
    }
    if (c > kLastCodePoint || (c >= 0xD800 && c <= 0xDFFF)) fail("an escape is no character");
    return c;
  }
  char32_t parse_utf8() {
    const auto lead = static_cast<std::uint8_t>(text_[at_++]);
    if (lead < 0x80) return lead;
    const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4) fail("is not UTF-8");
    char32_t c = lead & (0x3FU >> more);
    for (int i = 0; i < more; ++i) {
      const auto byte = static_cast<std::uint8_t>(peek());
      if ((byte & 0xC0U) != 0x80) fail("is not UTF-8");
      ++at_;
      c = c << 6 | (byte & 0x3FU);
    }
    return c;
  }

  // Rules.

  void parse_rule() {
    rule_.clear();
    rule_ = parse_name();
    skip_space(/*lines=*/false);
    if (!take("::=")) fail("\"::=\" was expected");
    const std::uint32_t rule = rule_named(rule_);
    if (!grammar_.rules[rule].empty()) fail("is defined twice");
    skip_space(/*lines=*/true);
    define(rule, parse_alternatives(0));
    skip_space(/*lines=*/false);
    if (!at_end() && peek() != '\n') fail("the end of the line was expected");
    skip_space(/*lines=*/true);
  }

  std::uint32_t new_rule() {
    if (grammar_.rules.size() >= kMaxRules) fail(str_cat("has more than ", kMaxRules, " rules"));
    grammar_.rules.emplace_back();
    return static_cast<std::uint32_t>(grammar_.rules.size() - 1);
  }
  std::uint32_t rule_named(const std::string& name) {
    const auto found = rules_.find(name);
    if (found != rules_.end()) return found->second;
    const std::uint32_t rule = new_rule();
    rules_.emplace(name, rule);
    return rule;
  }
  void define(std::uint32_t rule, const std::vector<Sequence>& alternatives) {
    for (const Sequence& alternative : alternatives) {
      grammar_.rules[rule].push_back(static_cast<std::uint32_t>(grammar_.symbols.size()));
      grammar_.symbols.insert(grammar_.symbols.end(), alternative.begin(), alternative.end());
      grammar_.symbols.emplace_back();
    }
    if (grammar_.symbols.size() > kMaxSymbols) {
      fail(str_cat("has more than ", kMaxSymbols, " symbols"));
    }
  }
  static Symbol reference(std::uint32_t rule) {
    return {.kind = Symbol::Kind::kRule, .low = 0, .high = 0, .rule = rule};
  }
  static Symbol bytes(std::uint8_t low, std::uint8_t high) {
    return {.kind = Symbol::Kind::kBytes, .low = low, .high = high, .rule = 0};
  }

  std::vector<Sequence> parse_alternatives(int depth) {
    if (depth > kMaxNesting) fail(str_cat("is nested deeper than ", kMaxNesting));
    std::vector<Sequence> alternatives;
    do {
      skip_space(/*lines=*/true);
      alternatives.push_back(parse_sequence(depth));
    } while (take("|"));
    return alternatives;
  }

  Sequence parse_sequence(int depth) {
    Sequence sequence;
    while (true) {
      skip_space(/*lines=*/depth > 0);
      std::optional<Sequence> item = parse_item(depth);
      if (!item) return sequence;
      append(sequence, parse_repetition(std::move(*item)));
    }
  }
  void append(Sequence& to, const Sequence& what) const {
    if (to.size() + what.size() > kMaxSymbols) {
      fail(str_cat("has more than ", kMaxSymbols, " symbols"));
    }
    to.insert(to.end(), what.begin(), what.end());
  }

  /// A literal, a class, a group or a name; nothing at the end of a sequence.
  std::optional<Sequence> parse_item(int depth) {
    const char c = peek();
    if (at_end() || c == '|' || c == ')' || c == '\n') return std::nullopt;
    if (take("\"")) return parse_literal();
    if (take("[")) return parse_class();
    if (take(".")) return Sequence{class_rule({{0, kLastCodePoint}})};
    if (take("(")) {
      std::vector<Sequence> alternatives = parse_alternatives(depth + 1);
      skip_space(/*lines=*/true);
      if (!take(")")) fail("a group has no \")\"");
      const std::uint32_t rule = new_rule();
      define(rule, alternatives);
      return Sequence{reference(rule)};
    }
    if (!is_name(c)) fail(str_cat("what is \"", std::string(1, c), "\" here?"));
    return Sequence{reference(rule_named(parse_name()))};
  }

  Sequence parse_literal() {
    Sequence literal;
    while (!take("\"")) {
      const char32_t c = parse_character();
      const auto sequences = utf8_ranges(c, c);  // one, of single bytes
      for (const ByteRange& byte : sequences.front()) {
        literal.push_back(bytes(byte.first, byte.second));
      }
    }
    return literal;
  }
  Sequence parse_class() {
    const bool negated = take("^");
    std::vector<CodePointRange> ranges;
    while (!take("]")) {
      const char32_t low = parse_character();
      char32_t high = low;
      if (text_.substr(std::min(at_, text_.size())).starts_with("-") &&
          !text_.substr(at_).starts_with("-]")) {
        ++at_;
        high = parse_character();
      }
      if (high < low) fail("a range of a class runs backwards");
      ranges.emplace_back(low, high);
    }
    return {class_rule(negated ? complement(std::move(ranges)) : ranges)};
  }
  Symbol class_rule(const std::vector<CodePointRange>& ranges) {
    std::vector<Sequence> alternatives;
    for (const auto& [low, high] : ranges) {
      for (const auto& sequence : utf8_ranges(low, high)) {
        Sequence& alternative = alternatives.emplace_back();
        for (const ByteRange& byte : sequence) {
          alternative.push_back(bytes(byte.first, byte.second));
        }
      }
    }
    if (alternatives.empty()) fail("a class matches no character");
    if (alternatives.size() == 1 && alternatives.front().size() == 1) {
      return alternatives.front().front();
    }
    const std::uint32_t rule = new_rule();
    define(rule, alternatives);
    return reference(rule);
  }

  // Repetitions become rules: x{2,4} is x x (x (x)?)?, x* is r ::= x r | nothing.

  std::uint32_t parse_count() {
    std::uint32_t count = 0;
    const std::size_t start = at_;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      count = count * 10 + static_cast<std::uint32_t>(peek() - '0');
      if (count > kMaxRepetitions) fail(str_cat("repeats more than ", kMaxRepetitions, " times"));
    }
    if (at_ == start) fail("a number of repetitions was expected");
    return count;
  }
  Sequence parse_repetition(Sequence item) {
    std::uint32_t least = 1;
    std::uint32_t most = 1;
    if (take("*")) {
      least = 0;
      most = kUnbounded;
    } else if (take("+")) {
      most = kUnbounded;
    } else if (take("?")) {
      least = 0;
    } else if (take("{")) {
      least = parse_count();
      most = least;
      if (take(",")) most = peek() == '}' ? kUnbounded : parse_count();
      if (!take("}")) fail("a repetition has no \"}\"");
      if (most < least) fail("a repetition's bounds run backwards");
    } else {
      return item;
    }
    return repeated(std::move(item), least, most);
  }
  Sequence repeated(Sequence item, std::uint32_t least, std::uint32_t most) {
    if (item.size() > 1) {  // once, to be referred to
      const std::uint32_t rule = new_rule();
      define(rule, {item});
      item = {reference(rule)};
    }
    Sequence result;
    for (std::uint32_t i = 0; i < least; ++i) append(result, item);
    if (most == kUnbounded) {
      const std::uint32_t rule = new_rule();
      Sequence again = item;
      again.push_back(reference(rule));
      define(rule, {again, {}});
      result.push_back(reference(rule));
      return result;
    }
    Sequence rest;  // what may follow
    for (std::uint32_t i = least; i < most; ++i) {
      const std::uint32_t rule = new_rule();
      Sequence once_more = item;
      append(once_more, rest);
      define(rule, {once_more, {}});
      rest = {reference(rule)};
    }
    append(result, rest);
    return result;
  }

  void require_defined() {
    rule_.clear();
    if (!rules_.contains("root")) fail("has no rule named root");
    for (const auto& [name, rule] : rules_) {
      if (grammar_.rules[rule].empty()) fail(str_cat("rule ", name, " is used and not defined"));
    }
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::string rule_;  // being read, for messages
  std::map<std::string, std::uint32_t> rules_;
  Grammar grammar_;
};

/// Checks that matching comes to an end.
class Checker {
 public:
  Checker(const Grammar& grammar, const std::string& name) : grammar_(grammar), name_(name) {}

  void check() {
    const std::vector<bool> nullable = fixpoint([](const Symbol&) { return false; });
    const std::vector<bool> finite =
        fixpoint([](const Symbol& symbol) { return symbol.kind == Symbol::Kind::kBytes; });
    if (!finite[grammar_.root]) {
      throw FormatError(name_ + ": no finite text matches root");
    }
    require_no_left_recursion(nullable);
  }

 private:
  /// Rules of which an alternative consists of symbols that hold, or of such rules. Each symbol is
  /// looked at twice, however the rules hang together.
  template <typename Holds>
  std::vector<bool> fixpoint(const Holds& holds) const {
    struct Alternative {
      std::uint32_t rule;
      std::size_t open = 0;  // rules in it that are not known to hold
    };
    std::vector<Alternative> alternatives;
    std::vector<std::vector<std::size_t>> uses(grammar_.rules.size());
    std::vector<bool> result(grammar_.rules.size(), false);
    std::vector<std::uint32_t> found;
    const auto add = [&](std::uint32_t rule) {
      if (result[rule]) return;
      result[rule] = true;
      found.push_back(rule);
    };
    for (std::uint32_t rule = 0; rule < grammar_.rules.size(); ++rule) {
      for (const std::uint32_t start : grammar_.rules[rule]) {
        std::vector<std::uint32_t> rules;
        bool possible = true;
        for (std::uint32_t at = start; grammar_.symbols[at].kind != Symbol::Kind::kEnd; ++at) {
          if (grammar_.symbols[at].kind == Symbol::Kind::kRule) {
            rules.push_back(grammar_.symbols[at].rule);
          } else {
            possible = possible && holds(grammar_.symbols[at]);
          }
        }
        if (!possible) continue;
        if (rules.empty()) add(rule);
        for (const std::uint32_t used : rules) uses[used].push_back(alternatives.size());
        alternatives.push_back({rule, rules.size()});
      }
    }
    while (!found.empty()) {
      const std::uint32_t rule = found.back();
      found.pop_back();
      for (const std::size_t alternative : uses[rule]) {
        if (--alternatives[alternative].open == 0) add(alternatives[alternative].rule);
      }
    }
    return result;
  }

  /// No rule begins with itself, however many others lie between: a search for cycles that keeps
  /// its own stack, as grammars may be deep.
  void require_no_left_recursion(const std::vector<bool>& nullable) const {
    std::vector<std::vector<std::uint32_t>> begins(grammar_.rules.size());
    for (std::size_t rule = 0; rule < grammar_.rules.size(); ++rule) {
      for (std::uint32_t at : grammar_.rules[rule]) {
        for (; grammar_.symbols[at].kind == Symbol::Kind::kRule; ++at) {
          begins[rule].push_back(grammar_.symbols[at].rule);
          if (!nullable[grammar_.symbols[at].rule]) break;
        }
      }
    }
    enum class Mark : std::uint8_t { kNew, kOpen, kDone };
    std::vector<Mark> marks(grammar_.rules.size(), Mark::kNew);
    std::vector<std::pair<std::uint32_t, std::size_t>> path;
    for (std::uint32_t start = 0; start < grammar_.rules.size(); ++start) {
      if (marks[start] != Mark::kNew) continue;
      path.emplace_back(start, 0);
      marks[start] = Mark::kOpen;
      while (!path.empty()) {
        auto& [rule, next] = path.back();
        if (next == begins[rule].size()) {
          marks[rule] = Mark::kDone;
          path.pop_back();
          continue;
        }
        const std::uint32_t child = begins[rule][next++];
        if (marks[child] == Mark::kOpen) {
          throw FormatError(name_ +
                            ": a rule begins with itself (left recursion); put it last, or use *");
        }
        if (marks[child] != Mark::kNew) continue;
        marks[child] = Mark::kOpen;
        path.emplace_back(child, 0);
      }
    }
  }

  const Grammar& grammar_;
  const std::string& name_;
};

}  // namespace

Grammar parse_gbnf(std::string_view text, const std::string& name) {
  Grammar grammar = Parser(text, name).parse();
  Checker(grammar, name).check();
  return grammar;
}

}  // namespace shoehorn
