// Decomposition, canonical ordering, composition. Stretches of ASCII are copied: they are in every
// form already, but for a last character that may combine with what follows.
#include "text/normal_forms.h"

#include <algorithm>
#include <vector>

#include "text/unicode_data.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

using unicode::Composition;
using unicode::Decomposition;

constexpr char32_t kSBase = 0xAC00;
constexpr char32_t kLBase = 0x1100;
constexpr char32_t kVBase = 0x1161;
constexpr char32_t kTBase = 0x11A7;
constexpr char32_t kLCount = 19;
constexpr char32_t kVCount = 21;
constexpr char32_t kTCount = 28;
constexpr char32_t kSCount = kLCount * kVCount * kTCount;

struct Character {
  char32_t code_point;
  int combining_class;
};

std::span<const char32_t> look_up(std::span<const Decomposition> table,
                                  std::span<const char32_t> text, char32_t c) {
  const auto found = std::lower_bound(
      table.begin(), table.end(), c,
      [](const Decomposition& entry, char32_t value) { return entry.code_point < value; });
  if (found == table.end() || found->code_point != c) return {};
  return text.subspan(found->offset, found->length);
}

int combining_class(char32_t c) {
  return c < 0x300 ? 0 : label_of(unicode::kCombiningClass, c);
}

void decompose(char32_t c, bool compatible, std::vector<Character>& out) {
  if (c < 0xA0) {
    out.push_back({c, 0});
    return;
  }
  if (c >= kSBase && c < kSBase + kSCount) {
    const char32_t s = c - kSBase;
    out.push_back({kLBase + s / (kVCount * kTCount), 0});
    out.push_back({kVBase + s % (kVCount * kTCount) / kTCount, 0});
    if (s % kTCount != 0) out.push_back({kTBase + s % kTCount, 0});
    return;
  }
  std::span<const char32_t> parts;
  if (compatible) parts = look_up(unicode::kCompatible, unicode::kCompatibleText, c);
  if (parts.empty()) parts = look_up(unicode::kCanonical, unicode::kCanonicalText, c);
  if (parts.empty()) {
    out.push_back({c, combining_class(c)});
  } else {
    for (const char32_t part : parts) out.push_back({part, combining_class(part)});
  }
}

// Sorts each run of characters with a combining class other than 0 by class, stably.
void order_marks(std::vector<Character>& characters) {
  for (auto at = characters.begin(); at != characters.end();) {
    if (at->combining_class == 0) {
      ++at;
      continue;
    }
    const auto end = std::find_if(at, characters.end(),
                                  [](const Character& c) { return c.combining_class == 0; });
    std::stable_sort(at, end, [](const Character& a, const Character& b) {
      return a.combining_class < b.combining_class;
    });
    at = end;
  }
}

// The primary composite of two characters, 0 if there is none.
char32_t compose_pair(char32_t first, char32_t second) {
  if (first >= kLBase && first < kLBase + kLCount && second >= kVBase &&
      second < kVBase + kVCount) {
    return kSBase + ((first - kLBase) * kVCount + (second - kVBase)) * kTCount;
  }
  if (first >= kSBase && first < kSBase + kSCount && (first - kSBase) % kTCount == 0 &&
      second > kTBase && second < kTBase + kTCount) {
    return first + (second - kTBase);
  }
  const auto table = unicode::kCompositions;
  const auto found =
      std::lower_bound(table.begin(), table.end(), std::pair(first, second),
                       [](const Composition& entry, const std::pair<char32_t, char32_t>& value) {
                         return std::pair(entry.first, entry.second) < value;
                       });
  if (found == table.end() || found->first != first || found->second != second) return 0;
  return found->composed;
}

void compose(std::vector<Character>& characters) {
  constexpr std::size_t kNone = ~std::size_t{0};
  std::size_t starter = kNone;
  std::size_t kept = 0;
  int last_class = 0;  // of the last kept character after the starter
  for (std::size_t i = 0; i < characters.size(); ++i) {
    const Character c = characters[i];
    if (starter != kNone) {
      const bool adjacent = kept == starter + 1;
      const bool blocked = !adjacent && (last_class >= c.combining_class || last_class == 0);
      const char32_t composed =
          blocked ? 0 : compose_pair(characters[starter].code_point, c.code_point);
      if (composed != 0) {
        characters[starter].code_point = composed;
        continue;
      }
    }
    if (c.combining_class == 0) starter = kept;
    last_class = c.combining_class;
    characters[kept++] = c;
  }
  characters.resize(kept);
}

// What a composition or reordering cannot reach across: a character that decomposes to itself, is
// a starter, and combines with nothing before it. ASCII is enough to make this fast.
bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

}  // namespace

void append_normalized(std::string& out, std::string_view text, NormalForm form) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool composed = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  out.reserve(out.size() + text.size());
  std::vector<Character> characters;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t ascii_end = begin;
    while (ascii_end < text.size() && is_ascii(text[ascii_end])) ++ascii_end;
    // The last of them may be the base of a mark.
    if (ascii_end < text.size() && ascii_end > begin) --ascii_end;
    out.append(text.substr(begin, ascii_end - begin));
    begin = ascii_end;
    if (begin == text.size()) break;
    // Up to the next ASCII character that does not start this stretch.
    std::size_t end = begin + 1;
    while (end < text.size() && !is_ascii(text[end])) ++end;
    characters.clear();
    for (std::size_t i = begin, length = 0; i < end; i += length) {
      decompose(decode_utf8(text.data() + i, length), compatible, characters);
    }
    order_marks(characters);
    if (composed) compose(characters);
    for (const Character& c : characters) append_utf8(out, c.code_point);
    begin = end;
  }
}

}  // namespace shoehorn::text
