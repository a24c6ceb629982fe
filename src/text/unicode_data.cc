// Properties by name, case folding and lower-casing over the generated tables.
#include "text/unicode_data.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "text/utf8.h"

namespace shoehorn::text {
namespace {

using unicode::CodePointPair;
using unicode::LabelRun;

// In the order of the labels in kGeneralCategory.
struct Category {
  std::string_view name;
  std::string_view long_name;
};
constexpr std::array<Category, 30> kCategories = {{
    {"lu", "uppercaseletter"},    {"ll", "lowercaseletter"},  {"lt", "titlecaseletter"},
    {"lm", "modifierletter"},     {"lo", "otherletter"},      {"mn", "nonspacingmark"},
    {"mc", "spacingmark"},        {"me", "enclosingmark"},    {"nd", "decimalnumber"},
    {"nl", "letternumber"},       {"no", "othernumber"},      {"pc", "connectorpunctuation"},
    {"pd", "dashpunctuation"},    {"ps", "openpunctuation"},  {"pe", "closepunctuation"},
    {"pi", "initialpunctuation"}, {"pf", "finalpunctuation"}, {"po", "otherpunctuation"},
    {"sm", "mathsymbol"},         {"sc", "currencysymbol"},   {"sk", "modifiersymbol"},
    {"so", "othersymbol"},        {"zs", "spaceseparator"},   {"zl", "lineseparator"},
    {"zp", "paragraphseparator"}, {"cc", "control"},          {"cf", "format"},
    {"co", "privateuse"},         {"cn", "unassigned"},       {"cs", "surrogate"},
}};

constexpr std::array<Category, 7> kGroups = {{{"l", "letter"},
                                              {"m", "mark"},
                                              {"n", "number"},
                                              {"p", "punctuation"},
                                              {"s", "symbol"},
                                              {"z", "separator"},
                                              {"c", "other"}}};

std::string squeeze(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    result.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c);
  }
  return result;
}

template <typename Wanted>
CodePointSet collect(std::span<const LabelRun> runs, const Wanted& wanted) {
  CodePointSet set;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const char32_t last = i + 1 < runs.size() ? runs[i + 1].first - 1 : kMaxCodePoint;
    if (wanted(runs[i].label)) set.add(runs[i].first, last);
  }
  return set;
}

// All categories whose short name starts with `prefix`.
CodePointSet categories(std::string_view prefix) {
  return collect(unicode::kGeneralCategory, [&](int label) {
    return kCategories[static_cast<std::size_t>(label)].name.substr(0, prefix.size()) == prefix;
  });
}

CodePointSet set_union(CodePointSet a, const CodePointSet& b) {
  a.unite(b);
  return a;
}

CodePointSet white() {
  CodePointSet set;
  for (char32_t c = 0; c <= 0x3000; ++c) {
    if (is_white(c)) set.add(c);
  }
  return set;
}

CodePointSet ranges_set(std::initializer_list<CodePointSet::Range> ranges) {
  return CodePointSet(std::span<const CodePointSet::Range>(ranges.begin(), ranges.size()));
}

std::optional<CodePointSet> emoji_set(const std::string& key) {
  if (key == "emoji") return CodePointSet(unicode::kEmoji);
  if (key == "emojipresentation") return CodePointSet(unicode::kEmojiPresentation);
  if (key == "emojimodifier") return CodePointSet(unicode::kEmojiModifier);
  if (key == "emojimodifierbase") return CodePointSet(unicode::kEmojiModifierBase);
  if (key == "emojicomponent") return CodePointSet(unicode::kEmojiComponent);
  if (key == "extendedpictographic") return CodePointSet(unicode::kExtendedPictographic);
  return std::nullopt;
}

std::optional<CodePointSet> category_set(const std::string& key) {
  for (const Category& category : kCategories) {
    if (key == category.name || key == category.long_name) return categories(category.name);
  }
  for (const Category& group : kGroups) {
    if (key == group.name || key == group.long_name) return categories(group.name);
  }
  if (key == "lc" || key == "casedletter") {
    return set_union(set_union(categories("lu"), categories("ll")), categories("lt"));
  }
  return std::nullopt;
}

}  // namespace

int label_of(std::span<const LabelRun> runs, char32_t c) {
  const auto after =
      std::upper_bound(runs.begin(), runs.end(), c,
                       [](char32_t value, const LabelRun& run) { return value < run.first; });
  return std::prev(after)->label;  // the first run starts at 0
}

void append_lower(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c));
    return;
  }
  if (c == 0x130) {  // the only character whose lower case is two
    out.append("i\xCC\x87");
    return;
  }
  const auto table = unicode::kLower;
  const auto found =
      std::lower_bound(table.begin(), table.end(), c,
                       [](const CodePointPair& pair, char32_t value) { return pair.from < value; });
  append_utf8(out, found != table.end() && found->from == c ? found->to : c);
}

CodePointSet word_set() {
  return CodePointSet(unicode::kRegexWord);
}

std::optional<CodePointSet> posix_set(std::string_view name) {
  if (name == "alpha") return CodePointSet(unicode::kAlphabetic);
  if (name == "alnum") return set_union(CodePointSet(unicode::kAlphabetic), categories("nd"));
  if (name == "ascii") return ranges_set({{0, 0x7F}});
  if (name == "blank") return set_union(categories("zs"), ranges_set({{'\t', '\t'}}));
  if (name == "cntrl") return categories("cc");
  if (name == "digit") return categories("nd");
  if (name == "lower") return CodePointSet(unicode::kLowercase);
  if (name == "upper") return CodePointSet(unicode::kUppercase);
  if (name == "punct") return set_union(categories("p"), categories("s"));
  if (name == "space") return white();
  if (name == "word") {
    // Brackets use the ranges of Unicode, \w a table of ISO 8859-1 where that has an answer.
    CodePointSet words = word_set();
    words.intersect(ranges_set({{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}}).complement());
    return words;
  }
  if (name == "xdigit") return ranges_set({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
  if (name == "graph" || name == "print") {
    // Everything assigned but white space, controls and surrogates; print adds the spaces.
    CodePointSet none = set_union(categories("cc"), categories("cn"));
    none.add(0xD800, 0xDFFF);
    none.unite(white());
    CodePointSet graph = none.complement();
    return name == "graph" ? graph : set_union(std::move(graph), categories("zs"));
  }
  return std::nullopt;
}

std::optional<CodePointSet> property_set(std::string_view name) {
  const std::string key = squeeze(name);
  if (key == "any") return ranges_set({{0, kMaxCodePoint}});
  if (key == "assigned") return categories("cn").complement();
  if (key == "alphabetic") return CodePointSet(unicode::kAlphabetic);
  if (key == "uppercase") return CodePointSet(unicode::kUppercase);
  if (key == "lowercase") return CodePointSet(unicode::kLowercase);
  if (key == "whitespace") return white();
  if (key == "word") return word_set();
  if (key == "punct") return categories("p");
  if (auto set = emoji_set(key)) return set;
  if (auto set = category_set(key)) return set;
  if (auto set = posix_set(key)) return set;
  for (std::size_t i = 0; i < unicode::kScriptNames.size(); ++i) {
    if (squeeze(unicode::kScriptNames[i]) == key) {
      return collect(unicode::kScript, [i](int label) { return label == static_cast<int>(i); });
    }
  }
  return std::nullopt;
}

void close_under_case(CodePointSet& set) {
  // Each step of the circle once around is enough: a circle has at most four members.
  const CodePointSet original = set;
  std::vector<CodePointSet::Range> added;
  const auto table = unicode::kFoldNext;
  const auto next = [table](char32_t c) {
    return std::lower_bound(table.begin(), table.end(), c,
                            [](const CodePointPair& p, char32_t value) { return p.from < value; })
        ->to;
  };
  for (const CodePointPair& pair : table) {
    if (!original.contains(pair.from)) continue;
    for (char32_t c = pair.to; c != pair.from; c = next(c)) added.push_back({c, c});
  }
  set.unite(CodePointSet(added));
}

}  // namespace shoehorn::text
