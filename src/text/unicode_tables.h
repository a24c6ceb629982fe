// Unicode data, version by version as Hugging Face's tokenizers library 0.23.3 uses it. The arrays
// are in unicode_tables.cc, which unicode_tables.py writes; unicode_data.h is how to ask them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace shoehorn::unicode {

// The tables are constants, only not constexpr here: NOLINTBEGIN(readability-identifier-naming)

/// first <= c <= last.
struct CodePointRange {
  char32_t first;
  char32_t last;
};

/// From `first` up to the next run's `first`, every code point has this label.
struct LabelRun {
  char32_t first;
  std::int16_t label;
};

struct CodePointPair {
  char32_t from;
  char32_t to;
};

/// `length` characters from `offset` on in the table's text.
struct Decomposition {
  char32_t code_point;
  std::uint16_t offset;
  std::uint8_t length;
};

struct Composition {
  char32_t first;
  char32_t second;
  char32_t composed;
};

/// Labels in the order Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp
/// Cc Cf Co Cn. Unicode 16, as all that follows up to kLowercase.
extern const std::span<const LabelRun> kGeneralCategory;
extern const std::span<const std::string_view> kScriptNames;
extern const std::span<const LabelRun> kScript;
extern const std::span<const CodePointRange> kAlphabetic;
extern const std::span<const CodePointRange> kUppercase;
extern const std::span<const CodePointRange> kLowercase;
/// What \w matches in a Split pattern outside of brackets, and in Whitespace and single_word.
extern const std::span<const CodePointRange> kRegexWord;
extern const std::span<const CodePointRange> kWord;
/// Emoji properties by their Unicode names.
extern const std::span<const CodePointRange> kEmoji;
extern const std::span<const CodePointRange> kEmojiPresentation;
extern const std::span<const CodePointRange> kEmojiModifier;
extern const std::span<const CodePointRange> kEmojiModifierBase;
extern const std::span<const CodePointRange> kEmojiComponent;
extern const std::span<const CodePointRange> kExtendedPictographic;
/// From each cased character to the next one that (?i) takes for the same, in a circle.
extern const std::span<const CodePointPair> kFoldNext;

/// Nd, Nl, No of Unicode 17, and lower-casing of Unicode 17 (U+0130, which gives two, is left out).
extern const std::span<const CodePointRange> kNumeric;
extern const std::span<const CodePointPair> kLower;

/// Punctuation, removed controls and accents (Mn) of BERT's parts: Unicode 8.
extern const std::span<const CodePointRange> kPunctuation;
extern const std::span<const CodePointRange> kBertRemoved;
extern const std::span<const CodePointRange> kBertAccents;

/// Labels of the UnicodeScripts pre-tokenizer; -1 goes with any script.
extern const std::span<const LabelRun> kPreTokenizerScript;

/// Grapheme clusters: Extend and SpacingMark (with U+200D), Prepend, and what a U+200D can join to
/// another such character.
extern const std::span<const CodePointRange> kGraphemeExtend;
extern const std::span<const CodePointRange> kGraphemePrepend;
extern const std::span<const CodePointRange> kPictographic;

/// Normal forms, Unicode 9: combining marks (M), full decompositions (the compatible ones only
/// where they differ from the canonical ones), combining classes, primary composites. No Hangul
/// syllables.
extern const std::span<const CodePointRange> kMarks;
extern const std::span<const Decomposition> kCanonical;
extern const std::span<const char32_t> kCanonicalText;
extern const std::span<const Decomposition> kCompatible;
extern const std::span<const char32_t> kCompatibleText;
extern const std::span<const LabelRun> kCombiningClass;
extern const std::span<const Composition> kCompositions;

// NOLINTEND(readability-identifier-naming)

}  // namespace shoehorn::unicode
