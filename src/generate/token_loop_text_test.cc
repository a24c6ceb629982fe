// The text that a token loop makes of its ids: whole characters, stop strings, special tokens.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/tokenizer.h"

#include "generate/token_loop.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;

// Byte-level tokens; 3 and 4 are the two bytes of U+00E9, 8 to 10 the first three of U+1F600.
constexpr const char* kTokenizer = R"({
  "added_tokens": [{"id": 11, "content": "<|end|>", "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true},
                   {"id": 12, "content": "<|sep|>", "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true}],
  "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
                                        "trim_offsets": true, "use_regex": true},
  "post_processor": null,
  "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
              "use_regex": true},
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "merges": [],
            "vocab": {"H": 0, "i": 1, "\u0120": 2, "\u00c3": 3, "\u00a9": 4, "S": 5, "T": 6,
                      "O": 7, "\u00f0": 8, "\u0141": 9, "\u013a": 10}}})";
constexpr std::int32_t kH = 0, kI = 1, kSpace = 2, kE9a = 3, kE9b = 4, kS = 5, kT = 6, kO = 7,
                       kF0 = 8, k9F = 9, k98 = 10, kEnd = 11, kSep = 12;

// A model that says the given ids whatever it hears, then the last one for ever.
class Script : public LogitsSource {
 public:
  explicit Script(std::vector<std::int32_t> ids) : ids_(std::move(ids)) {}
  std::span<const float> prefill(std::span<const std::int32_t>) override { return say(); }
  std::span<const float> next(std::int32_t) override { return say(); }

 private:
  std::span<const float> say() {
    logits_.assign(13, 0.0f);
    logits_[static_cast<std::size_t>(ids_[at_])] = 1.0f;
    if (at_ + 1 < ids_.size()) ++at_;
    return logits_;
  }

  std::vector<std::int32_t> ids_;
  std::size_t at_ = 0;
  std::vector<float> logits_;
};

struct Spoken {
  std::vector<std::string> pieces;  // without empty ones
  TokenLoopResult result;
};

// Says all of `ids`, unless something ends the text before.
Spoken speak(const std::vector<std::int32_t>& ids, GenerationConfig config = {}) {
  static const Tokenizer tokenizer = Tokenizer::from_json(kTokenizer, "tokenizer.json");
  config.max_new_tokens = static_cast<std::int64_t>(ids.size());
  config.eos_token_id = {kEnd};
  Script source(ids);
  TokenLoop loop(source, &tokenizer, std::vector<std::int32_t>{kH}, config);
  Spoken spoken;
  for (bool more = true; more;) {
    std::string piece;
    more = loop.step(piece);
    if (!piece.empty()) spoken.pieces.push_back(piece);
  }
  spoken.result = loop.result();
  return spoken;
}

TEST(TokenLoopText, PiecesComeAsTheyBecomeCertain) {
  EXPECT_THAT(speak({kH, kI, kSpace, kH}).pieces, ElementsAre("H", "i", " ", "H"));
}

TEST(TokenLoopText, TextIsAllPiecesJoined) {
  EXPECT_EQ(speak({kH, kI, kSpace}).result.text, "Hi ");
}

TEST(TokenLoopText, CharacterOfTwoTokensIsOnePiece) {
  EXPECT_THAT(speak({kH, kE9a, kE9b, kI}).pieces, ElementsAre("H", "\xC3\xA9", "i"));
}

TEST(TokenLoopText, CharacterThatIsCutOffEndsAsAReplacement) {
  EXPECT_THAT(speak({kH, kF0, k9F, k98}).pieces, ElementsAre("H", "\xEF\xBF\xBD"));
}

TEST(TokenLoopText, EosIsAmongTheIdsButNotInTheText) {
  const Spoken spoken = speak({kH, kI, kEnd}, {.skip_special_tokens = false});
  EXPECT_THAT(spoken.result.ids, ElementsAre(kH, kI, kEnd));
  EXPECT_EQ(spoken.result.text, "Hi");
}

TEST(TokenLoopText, SpecialTokensAreLeftOut) {
  EXPECT_EQ(speak({kH, kSep, kI}).result.text, "Hi");
}

TEST(TokenLoopText, SpecialTokensAreShownWhereAskedFor) {
  EXPECT_EQ(speak({kH, kSep, kI}, {.skip_special_tokens = false}).result.text, "H<|sep|>i");
}

TEST(TokenLoopText, IgnoredEosIsASpecialTokenLikeAnother) {
  EXPECT_EQ(speak({kH, kEnd, kI}, {.ignore_eos = true}).result.text, "Hi");
}

TEST(TokenLoopText, TextEndsBeforeAStopString) {
  const Spoken spoken = speak({kH, kI, kS, kT, kO, kH}, {.stop_strings = {"STO"}});
  EXPECT_THAT(spoken.pieces, ElementsAre("H", "i"));
  EXPECT_EQ(spoken.result.finish_reason, FinishReason::kStopString);
}

TEST(TokenLoopText, IdsOfTheStopStringAreKept) {
  EXPECT_THAT(speak({kI, kS, kT, kO, kH}, {.stop_strings = {"STO"}}).result.ids,
              ElementsAre(kI, kS, kT, kO));
}

TEST(TokenLoopText, WhatOnlyBeganLikeAStopStringComesLater) {
  EXPECT_THAT(speak({kH, kS, kT, kI}, {.stop_strings = {"STO"}}).pieces, ElementsAre("H", "STi"));
}

TEST(TokenLoopText, UnfinishedStopStringComesAtTheEnd) {
  EXPECT_THAT(speak({kH, kS, kT}, {.stop_strings = {"STO"}}).pieces, ElementsAre("H", "ST"));
}

TEST(TokenLoopText, UnfinishedStopStringComesBeforeEosToo) {
  const Spoken spoken = speak({kH, kS, kT, kEnd}, {.stop_strings = {"STO"}});
  EXPECT_EQ(spoken.result.text, "HST");
  EXPECT_EQ(spoken.result.finish_reason, FinishReason::kEos);
}

TEST(TokenLoopText, SpecialTokenMayBeAStopStringThoughItIsLeftOut) {
  const Spoken spoken = speak({kH, kSep, kI}, {.stop_strings = {"<|sep|>"}});
  EXPECT_THAT(spoken.result.ids, ElementsAre(kH, kSep));
  EXPECT_EQ(spoken.result.text, "H");
  EXPECT_EQ(spoken.result.finish_reason, FinishReason::kStopString);
}

TEST(TokenLoopText, CancelBringsWhatWasHeldBack) {
  const Tokenizer tokenizer = Tokenizer::from_json(kTokenizer, "tokenizer.json");
  Script source({kS, kT, kO});
  TokenLoop loop(source, &tokenizer, std::vector<std::int32_t>{kH}, {.stop_strings = {"STO"}});
  std::string piece;
  loop.step(piece);
  loop.cancel();
  EXPECT_FALSE(loop.step(piece));
  EXPECT_EQ(piece, "S");
}

}  // namespace
}  // namespace shoehorn
