// Recursive descent over the pattern: alternation, sequence, quantified atom, atom. Character
// classes are in regex_class.cc.
#include "text/regex_syntax.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "text/regex_class.h"
#include "text/regex_reader.h"
#include "text/unicode_data.h"

namespace shoehorn::text {
namespace {

using NodePtr = std::unique_ptr<RegexNode>;

constexpr int kMaxNesting = 200;
constexpr int kMaxRepeat = 100000;  // Oniguruma's own limit

struct Options {
  bool ignore_case = false;
  bool dot_all = false;   // (?m) in this dialect
  bool extended = false;  // (?x)
};

NodePtr make(RegexNode::Kind kind) {
  return std::make_unique<RegexNode>(kind);
}

NodePtr make_set(CodePointSet set) {
  NodePtr node = make(RegexNode::kSet);
  node->set = std::move(set);
  return node;
}

NodePtr make_assert(RegexNode::Position position) {
  NodePtr node = make(RegexNode::kAssert);
  node->position = position;
  return node;
}

NodePtr wrap(RegexNode::Kind kind, NodePtr child) {
  NodePtr node = make(kind);
  node->children.push_back(std::move(child));
  return node;
}

std::optional<RegexNode::Position> position_of_escape(char32_t c) {
  using Position = RegexNode::Position;
  switch (c) {
    case 'A': return Position::kTextBegin;
    case 'z': return Position::kTextEnd;
    case 'Z': return Position::kTextEndOrNewline;
    case 'b': return Position::kWordBoundary;
    case 'B': return Position::kNotWordBoundary;
    default: return std::nullopt;
  }
}

// How often the atom before may occur.
struct Quantifier {
  int min = 0;
  int max = 0;
  bool greedy = true;
  bool possessive = false;
};

class Parser {
 public:
  explicit Parser(std::string_view pattern) : in_(pattern) {}

  RegexTree parse() {
    RegexTree tree;
    tree.root = parse_alternation(Options{}, 0);
    if (!in_.at_end()) in_.fail("unmatched )");
    if (max_backreference_ > captures_) in_.fail("a back-reference to a group that is not there");
    tree.capture_count = captures_;
    tree.has_backreference = max_backreference_ > 0;
    return tree;
  }

 private:
  NodePtr parse_alternation(Options options, int depth) {
    if (depth > kMaxNesting) in_.fail("groups are nested too deeply");
    NodePtr alternate = make(RegexNode::kAlternate);
    do {
      alternate->children.push_back(parse_sequence(options, depth));
    } while (in_.accept('|'));
    if (alternate->children.size() == 1) return std::move(alternate->children[0]);
    return alternate;
  }

  NodePtr parse_sequence(Options options, int depth) {
    NodePtr sequence = make(RegexNode::kConcat);
    while (!in_.at_end() && in_.peek() != '|' && in_.peek() != ')') {
      if (options.extended && skip_extended()) continue;
      if (in_.accept("(?#")) {
        while (!in_.at_end() && in_.peek() != ')') in_.next();
        in_.expect(')');
        continue;
      }
      NodePtr atom = parse_atom(options, depth);
      while (const auto quantifier = parse_quantifier()) {
        atom = repeat(std::move(atom), *quantifier);
        if (++depth > kMaxNesting) in_.fail("too many quantifiers on one atom");
      }
      sequence->children.push_back(std::move(atom));
    }
    if (sequence->children.size() == 1) return std::move(sequence->children[0]);
    return sequence;
  }

  bool skip_extended() {
    if (is_white(in_.peek())) {
      in_.next();
      return true;
    }
    if (in_.peek() != '#') return false;
    while (!in_.at_end() && in_.peek() != '\n') in_.next();
    return true;
  }

  static NodePtr repeat(NodePtr atom, const Quantifier& quantifier) {
    NodePtr node = wrap(RegexNode::kRepeat, std::move(atom));
    node->min = quantifier.min;
    node->max = quantifier.max;
    node->greedy = quantifier.greedy;
    return quantifier.possessive ? wrap(RegexNode::kAtomic, std::move(node)) : std::move(node);
  }

  std::optional<Quantifier> parse_quantifier() {
    if (in_.at_end()) return std::nullopt;
    Quantifier quantifier;
    quantifier.max = RegexNode::kUnlimited;
    bool fixed = false;
    bool interval = false;
    if (in_.accept('*')) {
    } else if (in_.accept('+')) {
      quantifier.min = 1;
    } else if (in_.accept('?')) {
      quantifier.max = 1;
    } else if (in_.peek() == '{') {
      if (!parse_interval(quantifier, fixed)) return std::nullopt;
      interval = true;
    } else {
      return std::nullopt;
    }
    // After {n} a ? is a quantifier of its own, and so is a + after any interval.
    if (!fixed && in_.accept('?')) {
      quantifier.greedy = false;
    } else if (!interval && in_.accept('+')) {
      quantifier.possessive = true;
    }
    return quantifier;
  }

  // {n} {n,} {n,m} {,m}; anything else leaves the brace to be a literal.
  bool parse_interval(Quantifier& quantifier, bool& fixed) {
    const std::size_t begin = in_.position();
    in_.expect('{');
    const std::optional<int> low = in_.number(kMaxRepeat);
    const bool comma = in_.accept(',');
    const std::optional<int> high = comma ? in_.number(kMaxRepeat) : low;
    if ((!low && !high) || !in_.accept('}')) {
      in_.seek(begin);
      return false;
    }
    quantifier.min = low.value_or(0);
    quantifier.max = high.value_or(RegexNode::kUnlimited);
    fixed = !comma;
    if (quantifier.min > quantifier.max) in_.fail("{n,m} with n above m");
    return true;
  }

  NodePtr parse_atom(Options& options, int depth) {
    const char32_t c = in_.next();
    switch (c) {
      case '(': return parse_group(options, depth);
      case '[': return make_set(parse_class(in_, options.ignore_case));
      case '^': return make_assert(RegexNode::Position::kLineBegin);
      case '$': return make_assert(RegexNode::Position::kLineEnd);
      case '\\': return parse_escape(options);
      case '.': {
        CodePointSet all;
        if (!options.dot_all) all.add('\n');
        return make_set(all.complement());
      }
      case '*':
      case '+':
      case '?': in_.fail("a quantifier with nothing before it");
      default: return literal(c, options);
    }
  }

  static NodePtr literal(char32_t c, const Options& options) {
    CodePointSet set;
    set.add(c);
    if (options.ignore_case) close_under_case(set);
    return make_set(std::move(set));
  }

  NodePtr parse_escape(const Options& options) {
    if (in_.at_end()) in_.fail("\\ at the end");
    const char32_t c = in_.peek();
    if (const auto position = position_of_escape(c)) {
      in_.next();
      return make_assert(*position);
    }
    if (in_.accept('X')) return make(RegexNode::kGraphemeCluster);
    if (in_.accept('R')) return any_line_break();
    if (c == 'G' || c == 'K' || c == 'g' || c == 'k') in_.fail("this escape is not supported");
    if (c >= '1' && c <= '9') return parse_backreference(options);
    if (auto set = parse_class_escape(in_, false)) return make_set(std::move(*set));
    return literal(parse_character_escape(in_, false), options);
  }

  NodePtr parse_backreference(const Options& options) {
    const std::optional<int> number = in_.number(1000);
    if (!number) in_.fail("a back-reference with too large a number");
    NodePtr node = make(RegexNode::kBackreference);
    node->number = *number;
    node->ignore_case = options.ignore_case;
    if (node->ignore_case) in_.fail("a back-reference that ignores case is not supported");
    max_backreference_ = std::max(max_backreference_, *number);
    return node;
  }

  // \R is (?>\r\n|[\n\v\f\r\x85\u2028\u2029]).
  static NodePtr any_line_break() {
    NodePtr crlf = make(RegexNode::kConcat);
    crlf->children.push_back(literal('\r', {}));
    crlf->children.push_back(literal('\n', {}));
    CodePointSet single;
    single.add('\n', '\r');
    single.add(0x85);
    single.add(0x2028, 0x2029);
    NodePtr either = make(RegexNode::kAlternate);
    either->children.push_back(std::move(crlf));
    either->children.push_back(make_set(std::move(single)));
    return wrap(RegexNode::kAtomic, std::move(either));
  }

  NodePtr look(bool behind, bool negative, const Options& options, int depth) {
    NodePtr node = wrap(RegexNode::kLook, parse_alternation(options, depth + 1));
    node->behind = behind;
    node->negative = negative;
    in_.expect(')');
    return node;
  }

  NodePtr capture(const Options& options, int depth) {
    const int number = ++captures_;
    NodePtr node = wrap(RegexNode::kCapture, parse_alternation(options, depth + 1));
    node->number = number;
    in_.expect(')');
    return node;
  }

  NodePtr parse_group(Options& options, int depth) {
    if (!in_.accept('?')) return capture(options, depth);
    if (in_.accept(':')) return plain_group(options, depth);
    if (in_.accept('=')) return look(false, false, options, depth);
    if (in_.accept('!')) return look(false, true, options, depth);
    if (in_.accept("<=")) return look(true, false, options, depth);
    if (in_.accept("<!")) return look(true, true, options, depth);
    if (in_.accept('>')) return wrap(RegexNode::kAtomic, plain_group(options, depth));
    if (in_.accept('<')) {
      skip_name('>');
      return capture(options, depth);
    }
    if (in_.accept('\'')) {
      skip_name('\'');
      return capture(options, depth);
    }
    return parse_options(options, depth);
  }

  NodePtr plain_group(const Options& options, int depth) {
    NodePtr node = parse_alternation(options, depth + 1);
    in_.expect(')');
    return node;
  }

  void skip_name(char32_t end) {
    while (!in_.at_end() && in_.peek() != end) in_.next();
    in_.expect(end);
  }

  // (?i) lasts to the end of the group around it, alternatives included; (?i:...) for its own.
  NodePtr parse_options(const Options& outer, int depth) {
    Options options = outer;
    bool on = true;
    for (;;) {
      const char32_t c = in_.next();
      if (c == '-') {
        on = false;
      } else if (c == 'i') {
        options.ignore_case = on;
      } else if (c == 'm') {
        options.dot_all = on;
      } else if (c == 'x') {
        options.extended = on;
      } else if (c == ':') {
        return plain_group(options, depth);
      } else if (c == ')') {
        return parse_alternation(options, depth + 1);
      } else {
        in_.fail("an unknown group option");
      }
    }
  }

  RegexReader in_;
  int captures_ = 0;
  int max_backreference_ = 0;
};

}  // namespace

RegexTree parse_regex(std::string_view pattern) {
  return Parser(pattern).parse();
}

}  // namespace shoehorn::text
