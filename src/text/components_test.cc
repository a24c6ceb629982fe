// Single normalizers, pre-tokenizers and decoders against tests/data/tokenizers/components.json,
// and their character tables, code point by code point, against unicode-probe.json.
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "text/byte_level.h"
#include "text/code_point_set.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/regex.h"
#include "text/tokenizer_file.h"
#include "text/unicode_data.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

using Json = nlohmann::json;
using Strings = std::vector<std::string>;

Json read(const std::string& name) {
  return Json::parse(
      read_text_file(std::filesystem::path(SHOEHORN_TEST_DATA) / "tokenizers" / name));
}

// A component's configuration on its way through the reader of tokenizer.json.
JsonValue component(const char* kind, Json config) {
  if (config.value("precompiled_charsmap", "") == "the one of unigram-t5") {
    config = read("unigram-t5/tokenizer.json")["normalizer"]["normalizers"][0];
  }
  const Json file = {{kind, config}, {"model", {{"vocab", {{"a", 0}}}}}};
  const TokenizerFile parsed(file.dump());
  if (std::string_view(kind) == "normalizer") return parsed.normalizer;
  return std::string_view(kind) == "decoder" ? parsed.decoder : parsed.pre_tokenizer;
}

std::string normalize(const Normalizer& normalizer, const std::string& text) {
  NormalizedText normalized;
  normalized.text = text;
  normalizer.apply(normalized);
  return normalized.text;
}

Strings pre_tokenize(const PreTokenizerChain& chain, const std::string& text) {
  Pieces pieces;
  pieces.text = text;
  if (text.empty()) return {};
  pieces.pieces = {{0, static_cast<std::uint32_t>(text.size())}};
  // As for a text of its own: its first character is where the text starts.
  pieces.origin_end = sequence_length(text[0]);
  for (const auto& step : chain.steps) step->apply(pieces);
  Strings result;
  for (const auto& piece : pieces.pieces) {
    std::string out;
    if (chain.ends_in_byte_level) {
      append_byte_level(out, pieces.view(piece));
    } else {
      out = pieces.view(piece);
    }
    result.push_back(out);
  }
  return result;
}

class Collect : public DecoderStage {
 public:
  void chunk(std::string_view text) override { result.append(text); }
  void end_item() override {}
  void finish() override {}
  std::string result;
};

std::string decode(const Json& config, const Strings& tokens) {
  const auto decoders = make_decoders(component("decoder", config));
  Collect collect;
  std::vector<std::unique_ptr<DecoderStage>> stages;
  DecoderStage* first = &collect;
  for (auto decoder = decoders.rbegin(); decoder != decoders.rend(); ++decoder) {
    stages.push_back((*decoder)->make_stage(*first));
    first = stages.back().get();
  }
  for (const std::string& token : tokens) first->item(token);
  first->finish();
  return collect.result;
}

TEST(Components, NormalizersGiveTheSameText) {
  for (const Json& entry : read("components.json")) {
    if (entry["kind"] != "normalizer") continue;
    const auto normalizer = make_normalizer(component("normalizer", entry["config"]));
    for (const Json& row : entry["cases"]) {
      EXPECT_EQ(normalize(*normalizer, row[0]), row[1].get<std::string>())
          << entry["config"] << row[0];
    }
  }
}

TEST(Components, PreTokenizersGiveTheSamePieces) {
  for (const Json& entry : read("components.json")) {
    if (entry["kind"] != "pre_tokenizer") continue;
    const auto chain = make_pre_tokenizer(component("pre_tokenizer", entry["config"]));
    for (const Json& row : entry["cases"]) {
      // Empty pieces, which some of the library's chains leave of an empty text, mean nothing.
      Strings expected;
      for (const std::string piece : row[1]) {
        if (!piece.empty()) expected.push_back(piece);
      }
      EXPECT_EQ(pre_tokenize(chain, row[0]), expected) << entry["config"] << row[0];
    }
  }
}

TEST(Components, DecodersGiveTheSameText) {
  for (const Json& entry : read("components.json")) {
    if (entry["kind"] != "decoder") continue;
    for (const Json& row : entry["cases"]) {
      EXPECT_EQ(decode(entry["config"], row[0].get<Strings>()), row[1].get<std::string>())
          << entry["config"] << row[0];
    }
  }
}

TEST(Utf8Lossy, ReplacesEachMaximalSubpart) {
  for (const Json& entry : read("components.json")) {
    if (entry["kind"] != "utf8_lossy") continue;
    for (const Json& row : entry["cases"]) {
      const auto hex = row[0].get<std::string>();
      std::string bytes;
      for (std::size_t i = 0; i < hex.size(); i += 2) {
        bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
      }
      EXPECT_EQ(utf8_lossy(bytes), row[1].get<std::string>()) << hex;
    }
  }
}

// Every Unicode scalar value as UTF-8, one string each.
const Strings& all_characters() {
  static const Strings characters = [] {
    Strings result;
    for (char32_t c = 0; c <= kMaxCodePoint; ++c) {
      if (c >= 0xD800 && c <= 0xDFFF) continue;
      append_utf8(result.emplace_back(), c);
    }
    return result;
  }();
  return characters;
}

char32_t code_point(const std::string& character) {
  std::size_t length;
  return decode_utf8(character.data(), length);
}

CodePointSet probed(const Json& ranges) {
  CodePointSet set;
  for (std::size_t i = 0; i < ranges.size(); i += 2) {
    set.add(ranges[i].get<char32_t>(), ranges[i + 1].get<char32_t>());
  }
  return set;
}

// The characters for which `holds(character)`.
template <typename Holds>
CodePointSet collect(const Holds& holds) {
  CodePointSet set;
  for (const std::string& character : all_characters()) {
    if (holds(character)) set.add(code_point(character));
  }
  return set;
}

void expect_same(const CodePointSet& found, const CodePointSet& expected, const std::string& what) {
  CodePointSet missing = found.complement();
  missing.intersect(expected);
  CodePointSet extra = expected.complement();
  extra.intersect(found);
  EXPECT_TRUE(missing.empty()) << what << ": missing from U+" << std::hex
                               << static_cast<std::uint32_t>(missing.ranges()[0].first);
  EXPECT_TRUE(extra.empty()) << what << ": too many from U+" << std::hex
                             << static_cast<std::uint32_t>(extra.ranges()[0].first);
}

TEST(UnicodeProbe, RegexClassesHoldTheSameCharacters) {
  const Json probe = read("unicode-probe.json");
  std::string all;
  for (const std::string& character : all_characters()) all += character;
  for (const auto& [name, ranges] : probe["ranges"].items()) {
    if (name.rfind("regex ", 0) != 0) continue;
    const Regex regex(name.substr(6));
    CodePointSet found;
    RegexSearch search(regex);
    search.start(all);
    for (RegexMatch match; search.next(match);) {
      found.add(code_point(all.substr(match.begin, match.end - match.begin)));
    }
    expect_same(found, probed(ranges), name);
  }
}

TEST(UnicodeProbe, PreTokenizersCutAtTheSameCharacters) {
  const Json probe = read("unicode-probe.json");
  // One piece "xc" for each character c; where c is a place to cut, an "x" alone remains.
  Pieces all;
  for (const std::string& character : all_characters()) {
    const auto begin = static_cast<std::uint32_t>(all.text.size());
    all.text += 'x' + character;
    all.pieces.push_back({begin, static_cast<std::uint32_t>(all.text.size())});
  }
  const auto splits = [&all](const Json& config) {
    Pieces pieces = all;
    for (const auto& step : make_pre_tokenizer(component("pre_tokenizer", config)).steps) {
      step->apply(pieces);
    }
    CodePointSet set;
    for (const auto& piece : pieces.pieces) {
      std::size_t length;
      if (pieces.view(piece) == "x") set.add(decode_utf8(&pieces.text[piece.end], length));
    }
    return set;
  };
  expect_same(splits({{"type", "WhitespaceSplit"}}),
              probed(probe["ranges"]["WhitespaceSplit whitespace"]), "WhitespaceSplit");
  expect_same(splits({{"type", "Punctuation"}}), probed(probe["ranges"]["Punctuation"]),
              "Punctuation");
  expect_same(splits({{"type", "Digits"}, {"individual_digits", true}}),
              probed(probe["ranges"]["Digits numeric"]), "Digits");
}

TEST(UnicodeProbe, NormalizersRemoveTheSameCharacters) {
  const Json probe = read("unicode-probe.json")["ranges"];
  const auto changes = [](const Json& config, const std::string& to) {
    const auto normalizer = make_normalizer(component("normalizer", config));
    return collect([&](const std::string& character) {
      return character != to && normalize(*normalizer, character) == to;
    });
  };
  const auto bert = [](bool clean, bool accents) {
    return Json{{"type", "BertNormalizer"},
                {"clean_text", clean},
                {"handle_chinese_chars", false},
                {"strip_accents", accents},
                {"lowercase", false}};
  };
  expect_same(changes({{"type", "StripAccents"}}, ""), probed(probe["StripAccents removes"]),
              "StripAccents");
  expect_same(changes({{"type", "Strip"}}, ""), probed(probe["Strip removes"]), "Strip");
  expect_same(changes(bert(true, false), ""), probed(probe["BertNormalizer clean_text removes"]),
              "clean_text removes");
  CodePointSet spaces = probed(probe["BertNormalizer clean_text makes a space"]);
  expect_same(changes(bert(true, false), " "), spaces, "clean_text makes a space");
  expect_same(changes(bert(false, true), ""), probed(probe["BertNormalizer strip_accents removes"]),
              "strip_accents");
}

TEST(UnicodeProbe, SingleWordLooksForTheSameCharacters) {
  expect_same(
      CodePointSet(unicode::kWord),
      probed(read("unicode-probe.json")["ranges"]["added token single_word: word character"]),
      "single_word");
}

TEST(UnicodeProbe, NormalizersMapEveryCharacterTheSame) {
  const Json maps = read("unicode-probe.json")["maps"];
  for (const auto& [type, rows] : maps.items()) {
    const auto normalizer = make_normalizer(component("normalizer", {{"type", type}}));
    std::map<char32_t, std::string> expected;
    for (const Json& row : rows) expected[row[0].get<char32_t>()] = row[1];
    int differences = 0;
    for (const std::string& character : all_characters()) {
      const auto entry = expected.find(code_point(character));
      // Hangul syllables are algorithmic and left out of the probe.
      if (entry == expected.end() && code_point(character) >= 0xAC00 &&
          code_point(character) <= 0xD7A3) {
        continue;
      }
      differences += normalize(*normalizer, character) !=
                     (entry == expected.end() ? character : entry->second);
    }
    EXPECT_EQ(differences, 0) << type;
  }
}

}  // namespace
}  // namespace shoehorn::text
