// All pre-tokenizers. Those that only cut share one class; the others rewrite the text.
#include "text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/str_cat.h"
#include "text/byte_level.h"
#include "text/pattern.h"
#include "text/splitter.h"
#include "text/unicode_data.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr int kMaxNesting = 32;
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::uint32_t narrow(std::size_t offset) {
  return static_cast<std::uint32_t>(offset);
}

// What to cut at. A Matches makes a Finder for one call of apply(); the Finder calls
// visit(begin, end) for every match in a piece, with offsets into the whole text.
class PatternMatches {
 public:
  explicit PatternMatches(Pattern pattern) : pattern_(std::move(pattern)) {}

  class Finder {
   public:
    explicit Finder(const PatternMatches& matches) : finder_(matches.pattern_) {}
    template <typename Visit>
    void find(const Pieces& pieces, const Pieces::Piece& piece, const Visit& visit) {
      finder_.for_each_match(pieces.view(piece), [&](std::size_t begin, std::size_t end) {
        visit(narrow(piece.begin + begin), narrow(piece.begin + end));
      });
    }

   private:
    PatternFinder finder_;
  };

 private:
  Pattern pattern_;
};

// Each character that Test accepts is a match.
template <typename Test>
class CharacterMatches {
 public:
  explicit CharacterMatches(Test test) : test_(std::move(test)) {}

  class Finder {
   public:
    explicit Finder(const CharacterMatches& matches) : test_(matches.test_) {}
    template <typename Visit>
    void find(const Pieces& pieces, const Pieces::Piece& piece, const Visit& visit) {
      std::size_t length = 0;
      for (std::size_t i = piece.begin; i < piece.end; i += length) {
        if (test_(decode_utf8(pieces.text.data() + i, length))) {
          visit(narrow(i), narrow(i + length));
        }
      }
    }

   private:
    const Test& test_;
  };

 private:
  Test test_;
};

// Cuts at what Matches finds.
template <typename Matches>
class SplitPreTokenizer : public PreTokenizer {
 public:
  SplitPreTokenizer(Matches matches, SplitBehavior behavior, bool invert)
      : matches_(std::move(matches)), behavior_(behavior), invert_(invert) {}

  void apply(Pieces& pieces) const override {
    std::vector<Pieces::Piece> out;
    out.reserve(pieces.pieces.size());
    Splitter splitter(behavior_, invert_, out);
    typename Matches::Finder finder(matches_);
    for (const Pieces::Piece& piece : pieces.pieces) {
      splitter.begin_piece(piece.begin);
      finder.find(pieces, piece,
                  [&](std::uint32_t begin, std::uint32_t end) { splitter.match(begin, end); });
      splitter.end_piece(piece.end);
    }
    pieces.pieces = std::move(out);
  }

 private:
  Matches matches_;
  SplitBehavior behavior_;
  bool invert_;
};

using PreTokenizerPtr = std::unique_ptr<const PreTokenizer>;

PreTokenizerPtr split_at(Pattern pattern, SplitBehavior behavior, bool invert = false) {
  return std::make_unique<SplitPreTokenizer<PatternMatches>>(PatternMatches(std::move(pattern)),
                                                             behavior, invert);
}

template <typename Test>
PreTokenizerPtr split_at_characters(Test test, SplitBehavior behavior) {
  return std::make_unique<SplitPreTokenizer<CharacterMatches<Test>>>(
      CharacterMatches<Test>(std::move(test)), behavior, false);
}

// Writes a new text piece by piece: rewrite(piece, out, at_origin) appends what becomes of a piece.
// What a piece starts with counts as coming from where the piece came from.
template <typename Rewrite>
void rewrite_pieces(Pieces& pieces, const Rewrite& rewrite) {
  std::string out;
  out.reserve(pieces.text.size() + pieces.text.size() / 4);
  std::size_t origin_end = 0;
  for (Pieces::Piece& piece : pieces.pieces) {
    const std::size_t begin = out.size();
    const bool at_origin = piece.begin < pieces.origin_end;
    const std::size_t head = at_origin ? std::min<std::size_t>(pieces.origin_end, piece.end) : 0;
    const std::size_t written = rewrite(pieces.view(piece), out, at_origin);
    if (at_origin) origin_end = begin + written + (head - piece.begin);
    piece = {narrow(begin), narrow(out.size())};
  }
  pieces.text = std::move(out);
  pieces.origin_end = std::min(origin_end, pieces.text.size());
}

// A space in front of each piece that does not start with one.
class PrefixSpace : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    rewrite_pieces(pieces, [](std::string_view piece, std::string& out, bool) {
      const bool add = piece[0] != ' ';
      if (add) out.push_back(' ');
      out.append(piece);
      return add ? std::size_t{1} : 0;
    });
  }
};

class BytesAsCharacters : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    rewrite_pieces(pieces, [](std::string_view piece, std::string& out, bool) {
      append_byte_level(out, piece);
      return std::size_t{0};
    });
  }
};

enum class PrependScheme { kAlways, kFirst, kNever };

PrependScheme prepend_scheme(const JsonValue& config) {
  const std::string name = config.string_or("prepend_scheme", "always");
  PrependScheme scheme = PrependScheme::kAlways;
  if (name == "first") {
    scheme = PrependScheme::kFirst;
  } else if (name == "never") {
    scheme = PrependScheme::kNever;
  } else if (name != "always") {
    config.fail(str_cat("unknown prepend_scheme \"", name, "\""));
  }
  if (!config.bool_or("add_prefix_space", true)) {
    if (config.has("prepend_scheme") && scheme != PrependScheme::kNever) {
      config.fail("add_prefix_space is false, but prepend_scheme is not \"never\"");
    }
    scheme = PrependScheme::kNever;
  }
  return scheme;
}

std::string replacement_of(const JsonValue& config) {
  std::string replacement = config.string_or("replacement", "\xE2\x96\x81");
  if (count_characters(replacement) != 1) {
    config.fail(str_cat("replacement \"", replacement, "\" is not one character"));
  }
  return replacement;
}

class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const JsonValue& config)
      : replacement_(replacement_of(config)), scheme_(prepend_scheme(config)) {}

  void apply(Pieces& pieces) const override {
    rewrite_pieces(pieces, [this](std::string_view piece, std::string& out, bool at_origin) {
      const std::size_t begin = out.size();
      const bool wanted =
          scheme_ == PrependScheme::kAlways || (scheme_ == PrependScheme::kFirst && at_origin);
      if (wanted && piece[0] != ' ' && piece.substr(0, replacement_.size()) != replacement_) {
        out.append(replacement_);
      }
      const std::size_t prepended = out.size() - begin;
      for (std::size_t i = 0; i < piece.size();) {
        const std::size_t space = std::min(piece.find(' ', i), piece.size());
        out.append(piece.substr(i, space - i));
        if (space < piece.size()) out.append(replacement_);
        i = space + 1;
      }
      // A first space grows by what the replacement is longer.
      return prepended + (piece[0] == ' ' ? replacement_.size() - 1 : 0);
    });
  }

 private:
  std::string replacement_;
  PrependScheme scheme_;
};

// Cuts where the script changes. Characters of any script, such as the space, stay with what is
// before them; at the very start there is nothing for them to stay with, and they vanish.
class UnicodeScripts : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    std::vector<Pieces::Piece> out;
    for (const Pieces::Piece& piece : pieces.pieces) {
      int last = kAny;
      const std::size_t start = out.size();
      std::size_t length = 0;
      for (std::size_t i = piece.begin; i < piece.end; i += length) {
        const int script =
            label_of(unicode::kPreTokenizerScript, decode_utf8(pieces.text.data() + i, length));
        if (script == kAny || script == last) continue;
        if (out.size() > start) out.back().end = narrow(i);
        out.push_back({narrow(i), piece.end});
        last = script;
      }
    }
    pieces.pieces = std::move(out);
  }

 private:
  static constexpr int kAny = -1;
};

class FixedLength : public PreTokenizer {
 public:
  explicit FixedLength(const JsonValue& config) {
    const std::int64_t length = config.has("length") ? config.get("length").as_integer() : 5;
    if (length <= 0) config.fail("length has to be above 0");
    length_ = static_cast<std::size_t>(length);
  }
  void apply(Pieces& pieces) const override {
    std::vector<Pieces::Piece> out;
    for (const Pieces::Piece& piece : pieces.pieces) {
      std::size_t count = 0;
      std::uint32_t begin = piece.begin;
      for (std::size_t i = piece.begin; i < piece.end;) {
        i += sequence_length(pieces.text[i]);
        if (++count < length_ && i < piece.end) continue;
        out.push_back({begin, narrow(i)});
        begin = narrow(i);
        count = 0;
      }
    }
    pieces.pieces = std::move(out);
  }

 private:
  std::size_t length_;
};

// The steps of a chain, one entry a step, before it is known which is the last.
struct Step {
  PreTokenizerPtr pre_tokenizer;
  bool is_byte_level = false;
};

Pattern literal_pattern(std::string_view text, const JsonValue& config) {
  JsonValue value(config.place(), JsonValue::Kind::kString);
  value.set_string(text);
  return Pattern(value);
}

Pattern regex_pattern(std::string_view text, const JsonValue& config) {
  JsonValue regex(config.place(), JsonValue::Kind::kString);
  regex.set_string(text);
  JsonValue value(config.place(), JsonValue::Kind::kObject);
  value.mutable_members().emplace_back("Regex", std::move(regex));
  return Pattern(value);
}

void add_step(std::vector<Step>& steps, PreTokenizerPtr pre_tokenizer) {
  Step step;
  step.pre_tokenizer = std::move(pre_tokenizer);
  steps.push_back(std::move(step));
}

void add_byte_level(const JsonValue& config, std::vector<Step>& steps) {
  if (config.bool_or("add_prefix_space", true)) add_step(steps, std::make_unique<PrefixSpace>());
  if (config.bool_or("use_regex", true)) {
    add_step(steps, split_at(regex_pattern(kGpt2Pattern, config), SplitBehavior::kIsolated));
  }
  add_step(steps, std::make_unique<BytesAsCharacters>());
  steps.back().is_byte_level = true;
}

void add_metaspace(const JsonValue& config, std::vector<Step>& steps) {
  add_step(steps, std::make_unique<Metaspace>(config));
  if (config.bool_or("split", true)) {
    add_step(steps, split_at(literal_pattern(replacement_of(config), config),
                             SplitBehavior::kMergedWithNext));
  }
}

PreTokenizerPtr split_at_white() {
  return split_at_characters([](char32_t c) { return is_white(c); }, SplitBehavior::kRemoved);
}

// \w+ and what is neither \w nor white space, with the \w of Rust's regex crate.
void add_whitespace(std::vector<Step>& steps) {
  add_step(steps, split_at_white());
  add_step(steps, split_at_characters([words = CodePointBitmap(unicode::kWord)](
                                          char32_t c) { return words.contains(c); },
                                      SplitBehavior::kContiguous));
}

PreTokenizerPtr make_punctuation(SplitBehavior behavior) {
  return split_at_characters(
      [set = CodePointBitmap(unicode::kPunctuation)](char32_t c) { return set.contains(c); },
      behavior);
}

PreTokenizerPtr make_digits(bool individual) {
  return split_at_characters(
      [set = CodePointBitmap(unicode::kNumeric)](char32_t c) { return set.contains(c); },
      individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
}

void add_steps(const JsonValue& config, std::vector<Step>& steps, int depth) {
  const std::string& type = config.at("type").as_string();
  if (type == "Sequence") {
    if (depth > kMaxNesting) config.fail("sequences are nested too deeply");
    for (const JsonValue& item : config.at("pretokenizers").items()) {
      add_steps(item, steps, depth + 1);
    }
  } else if (type == "ByteLevel") {
    add_byte_level(config, steps);
  } else if (type == "Metaspace") {
    add_metaspace(config, steps);
  } else if (type == "Split") {
    add_step(steps, split_at(Pattern(config.at("pattern")), split_behavior(config.at("behavior")),
                             config.bool_or("invert", false)));
  } else if (type == "Whitespace") {
    add_whitespace(steps);
  } else if (type == "WhitespaceSplit") {
    add_step(steps, split_at_white());
  } else if (type == "BertPreTokenizer") {
    add_step(steps, split_at_white());
    add_step(steps, make_punctuation(SplitBehavior::kIsolated));
  } else if (type == "Punctuation") {
    steps.push_back(
        {make_punctuation(config.has("behavior") ? split_behavior(config.get("behavior"))
                                                 : SplitBehavior::kIsolated)});
  } else if (type == "Digits") {
    add_step(steps, make_digits(config.bool_or("individual_digits", false)));
  } else if (type == "CharDelimiterSplit") {
    const std::string& delimiter = config.at("delimiter").as_string();
    if (count_characters(delimiter) != 1) config.fail("delimiter is not one character");
    add_step(steps, split_at(literal_pattern(delimiter, config), SplitBehavior::kRemoved));
  } else if (type == "UnicodeScripts") {
    add_step(steps, std::make_unique<UnicodeScripts>());
  } else if (type == "FixedLength") {
    add_step(steps, std::make_unique<FixedLength>(config));
  } else {
    config.unsupported(str_cat("unknown pre-tokenizer \"", type, "\""));
  }
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): it loses sight of a pointer that moves

}  // namespace

PreTokenizerChain make_pre_tokenizer(const JsonValue& config) {
  PreTokenizerChain chain;
  if (config.is_null()) return chain;
  std::vector<Step> steps;
  add_steps(config, steps, 0);
  if (!steps.empty() && steps.back().is_byte_level) {
    chain.ends_in_byte_level = true;
    steps.pop_back();
  }
  for (Step& step : steps) chain.steps.push_back(std::move(step.pre_tokenizer));
  return chain;
}

}  // namespace shoehorn::text
