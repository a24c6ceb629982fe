// Parsing of character classes into sets.
#include "text/regex_class.h"

#include <string>
#include <utility>

#include "base/str_cat.h"
#include "text/unicode_data.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr int kMaxNesting = 100;

// \p{Name}, \p{^Name}, \P{Name}, read after the p or P.
CodePointSet parse_property(RegexReader& in, bool negative, bool in_class) {
  in.expect('{');
  if (in.accept('^')) negative = !negative;
  std::string name;
  while (in.peek() != '}') append_utf8(name, in.next());
  in.expect('}');
  const bool word = in_class && (name == "word" || name == "Word");
  std::optional<CodePointSet> set = word ? posix_set("word") : property_set(name);
  if (!set) in.fail(str_cat("unknown property ", name));
  return negative ? set->complement() : *set;
}

// [:name:] or [:^name:], read from the colon on; nothing, and nothing read, if it is none.
std::optional<CodePointSet> parse_posix_bracket(RegexReader& in) {
  const std::size_t begin = in.position();
  in.expect(':');
  const bool negative = in.accept('^');
  std::string name;
  while (!in.at_end() && in.peek() >= 'a' && in.peek() <= 'z') append_utf8(name, in.next());
  if (in.accept(":]")) {
    const std::optional<CodePointSet> set = posix_set(name);
    if (!set) in.fail(str_cat("unknown POSIX bracket ", name));
    return negative ? set->complement() : *set;
  }
  in.seek(begin);
  return std::nullopt;
}

class ClassParser {
 public:
  ClassParser(RegexReader& in, bool ignore_case) : in_(in), ignore_case_(ignore_case) {}

  // After the opening bracket, up to and with the closing one.
  CodePointSet parse(int depth) {
    if (depth > kMaxNesting) in_.fail("classes are nested too deeply");
    const bool negative = in_.accept('^');
    std::optional<CodePointSet> left;  // what stands before the last &&
    CodePointSet current;
    // A closing bracket right at the start is a member if another one follows.
    if (in_.accept(']')) {
      if (in_.at_end()) in_.fail("an empty class");
      current.add(']');
    }
    while (!in_.accept(']')) {
      if (in_.accept("&&")) {
        intersect(left, current);
        current = CodePointSet();
      } else {
        parse_member(current, depth);
      }
    }
    intersect(left, current);
    // Inner classes are part of the outer one when it comes to case.
    if (ignore_case_ && depth == 0) close_under_case(*left);
    return negative ? left->complement() : *left;
  }

 private:
  static void intersect(std::optional<CodePointSet>& left, const CodePointSet& right) {
    if (left) {
      left->intersect(right);
    } else {
      left = right;
    }
  }

  void parse_member(CodePointSet& current, int depth) {
    if (in_.accept('[')) {
      if (!in_.at_end() && in_.peek() == ':') {
        if (const auto posix = parse_posix_bracket(in_)) {
          current.unite(*posix);
          return;
        }
      }
      current.unite(parse(depth + 1));
      return;
    }
    if (in_.accept('\\')) {
      if (const auto set = parse_class_escape(in_, true)) {
        current.unite(*set);
        return;
      }
      parse_range(parse_character_escape(in_, true), current);
      return;
    }
    parse_range(in_.next(), current);
  }

  // `first` alone, or a range if a hyphen and another character follow.
  void parse_range(char32_t first, CodePointSet& current) {
    const std::size_t before = in_.position();
    char32_t last = first;
    if (in_.accept('-')) {
      if (in_.peek() == ']' || in_.peek() == '[') {
        in_.seek(before);  // the hyphen is a member itself
      } else if (in_.accept('\\')) {
        if (parse_class_escape(in_, true)) {
          in_.seek(before);
        } else {
          last = parse_character_escape(in_, true);
        }
      } else {
        last = in_.next();
      }
    }
    if (last < first) in_.fail("a range whose end is below its start");
    current.add(first, last);
  }

  RegexReader& in_;
  bool ignore_case_;
};

}  // namespace

CodePointSet parse_class(RegexReader& in, bool ignore_case) {
  return ClassParser(in, ignore_case).parse(0);
}

std::optional<CodePointSet> parse_class_escape(RegexReader& in, bool in_class) {
  const char32_t c = in.peek();
  const char* name = nullptr;
  switch (c) {
    case 'd':
    case 'D': name = "digit"; break;
    case 'w':
    case 'W': name = "word"; break;
    case 's':
    case 'S': name = "space"; break;
    case 'h':
    case 'H': name = "xdigit"; break;
    case 'p':
    case 'P': in.next(); return parse_property(in, c == 'P', in_class);
    default: return std::nullopt;
  }
  in.next();
  const bool bare_word = !in_class && (c == 'w' || c == 'W');
  const CodePointSet set = bare_word ? word_set() : *posix_set(name);
  return c < 'a' ? set.complement() : set;
}

char32_t parse_character_escape(RegexReader& in, bool in_class) {
  const auto checked = [&in](char32_t c) {
    if (c > kMaxCodePoint || (c >= 0xD800 && c <= 0xDFFF)) in.fail("not a character");
    return c;
  };
  const char32_t c = in.next();
  switch (c) {
    case 't': return '\t';
    case 'n': return '\n';
    case 'r': return '\r';
    case 'f': return '\f';
    case 'v': return '\v';
    case 'a': return '\a';
    case 'e': return 0x1B;
    case 'b':
      if (in_class) return '\b';
      break;
    case 'u': return checked(in.hex(4));
    case 'x': {
      if (in.accept('{')) {
        const char32_t value = checked(in.hex(8));
        in.expect('}');
        return value;
      }
      const char32_t value = in.hex(2);
      if (value >= 0x80) in.fail("\\x above 7F is half a character in UTF-8; write \\x{..}");
      return value;
    }
    case '0': {
      char32_t value = 0;
      for (int i = 0; i < 2 && !in.at_end() && in.peek() >= '0' && in.peek() <= '7'; ++i) {
        value = value * 8 + (in.next() - '0');
      }
      return value;
    }
    case 'c':
    case 'C':
    case 'M': in.fail("control escapes are not supported");
    default: break;
  }
  return c;
}

}  // namespace shoehorn::text
