// The rules GB3 to GB13 of UAX 29, except that Indic conjuncts (GB9c) are not joined: no table here
// has them, and clusters of six bytes or more are never looked up as a whole.
#include "text/grapheme.h"

#include <algorithm>

#include "text/code_point_set.h"
#include "text/unicode_data.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

enum class Break {
  kOther,
  kCr,
  kLf,
  kControl,
  kExtend,
  kJoiner,
  kPrepend,
  kRegional,
  kL,
  kV,
  kT,
  kLv,
  kLvt
};

bool in_ranges(std::span<const unicode::CodePointRange> ranges, char32_t c) {
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), c,
      [](char32_t value, const unicode::CodePointRange& r) { return value < r.first; });
  return after != ranges.begin() && c <= std::prev(after)->last;
}

bool is_control(char32_t c) {
  const int label = label_of(unicode::kGeneralCategory, c);
  constexpr int kZl = 23;
  constexpr int kCf = 26;
  if (label >= kZl && label <= kCf) return true;
  return (c >= 0xFFF0 && c <= 0xFFF8) || (c >= 0xE0000 && c <= 0xE0FFF);  // unassigned, ignorable
}

Break hangul_break(char32_t c) {
  if ((c >= 0x1100 && c <= 0x115F) || (c >= 0xA960 && c <= 0xA97C)) return Break::kL;
  if ((c >= 0x1160 && c <= 0x11A7) || (c >= 0xD7B0 && c <= 0xD7C6)) return Break::kV;
  if ((c >= 0x11A8 && c <= 0x11FF) || (c >= 0xD7CB && c <= 0xD7FB)) return Break::kT;
  if (c >= 0xAC00 && c <= 0xD7A3) return (c - 0xAC00) % 28 == 0 ? Break::kLv : Break::kLvt;
  return Break::kOther;
}

Break break_of(char32_t c) {
  if (c == '\r') return Break::kCr;
  if (c == '\n') return Break::kLf;
  if (c >= 0x20 && c < 0x7F) return Break::kOther;
  if (c == 0x200D) return Break::kJoiner;
  if (c >= 0x1F1E6 && c <= 0x1F1FF) return Break::kRegional;
  if (in_ranges(unicode::kGraphemeExtend, c)) return Break::kExtend;
  if (in_ranges(unicode::kGraphemePrepend, c)) return Break::kPrepend;
  if (is_control(c)) return Break::kControl;
  return hangul_break(c);
}

bool is_hard(Break b) {
  return b == Break::kCr || b == Break::kLf || b == Break::kControl;
}

bool hangul_joins(Break a, Break b) {
  switch (a) {
    case Break::kL: return b == Break::kL || b == Break::kV || b == Break::kLv || b == Break::kLvt;
    case Break::kV:
    case Break::kLv: return b == Break::kV || b == Break::kT;
    case Break::kT:
    case Break::kLvt: return b == Break::kT;
    default: return false;
  }
}

}  // namespace

std::size_t grapheme_cluster_end(std::string_view text, std::size_t begin) {
  std::size_t length;
  char32_t c = decode_utf8(text.data() + begin, length);
  std::size_t end = begin + length;
  Break before = break_of(c);
  int regional = before == Break::kRegional ? 1 : 0;
  // A pictograph with nothing but extending characters behind it, joiner last: GB11.
  bool pictograph = in_ranges(unicode::kPictographic, c);
  while (end < text.size()) {
    c = decode_utf8(text.data() + end, length);
    const Break after = break_of(c);
    bool joins = false;
    if (is_hard(before) || is_hard(after)) {
      joins = before == Break::kCr && after == Break::kLf;
    } else if (after == Break::kExtend || after == Break::kJoiner || before == Break::kPrepend) {
      joins = true;
    } else if (before == Break::kRegional && after == Break::kRegional) {
      joins = regional % 2 == 1;
    } else {
      joins = hangul_joins(before, after) ||
              (pictograph && before == Break::kJoiner && in_ranges(unicode::kPictographic, c));
    }
    if (!joins) break;
    regional = after == Break::kRegional ? regional + 1 : 0;
    if (after != Break::kExtend && after != Break::kJoiner) {
      pictograph = in_ranges(unicode::kPictographic, c);
    }
    before = after;
    end += length;
  }
  return end;
}

}  // namespace shoehorn::text
