// The boundaries of the rules; whole generations under them are held against transformers' in
// token_loop_test.cc and logits_processor_test.cc.
#include "generate/history_rules.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::size_t kVocab = 6;

/// The ids that `config` turns away after `history`, of which `prompt_tokens` are prompt.
std::vector<std::int32_t> forbidden(const GenerationConfig& config,
                                    const std::vector<std::int32_t>& history,
                                    std::size_t prompt_tokens = 1) {
  std::vector<float> logits(kVocab, 1.0f);
  HistoryRules(config, prompt_tokens).apply(history, logits);
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < kVocab; ++i) {
    if (logits[i] == -INFINITY) ids.push_back(static_cast<std::int32_t>(i));
  }
  return ids;
}

TEST(HistoryRules, OfDefaultsAreNone) {
  EXPECT_FALSE(HistoryRules({}, 3).any());
  EXPECT_FALSE(HistoryRules({.min_length = 5}, 3).any());  // nothing ends the text anyway
  EXPECT_TRUE(HistoryRules({.min_length = 5, .eos_token_id = {1}}, 3).any());
}

TEST(HistoryRules, NoBigramComesTwice) {
  EXPECT_THAT(forbidden({.no_repeat_ngram_size = 2}, {1, 2, 1, 3, 1}), ElementsAre(2, 3));
  EXPECT_THAT(forbidden({.no_repeat_ngram_size = 2}, {1}), IsEmpty());
  EXPECT_THAT(forbidden({.no_repeat_ngram_size = 5}, {1, 2}), IsEmpty());
}

TEST(HistoryRules, NoBigramOfThePromptComesAgain) {
  const GenerationConfig config{.encoder_no_repeat_ngram_size = 2};
  EXPECT_THAT(forbidden(config, {1, 2, 1, 3, 1}, 2), ElementsAre(2));
  EXPECT_THAT(forbidden(config, {1, 2, 1, 3, 3}, 2), IsEmpty());
  EXPECT_THAT(forbidden({.encoder_no_repeat_ngram_size = 1}, {1, 2, 4}, 2), ElementsAre(1, 2));
}

TEST(HistoryRules, InvalidValuesBecomeNumbers) {
  constexpr float kMost = std::numeric_limits<float>::max();
  std::vector<float> logits = {1.0f, NAN, INFINITY, -INFINITY, 2.0f, 3.0f};
  HistoryRules({.suppress_tokens = {5}, .remove_invalid_values = true}, 1)
      .apply(std::vector<std::int32_t>{0}, logits);
  EXPECT_THAT(logits, ElementsAre(1.0f, 0.0f, kMost, -kMost, 2.0f, -INFINITY));
}

TEST(HistoryRules, BadWordsEndWithTheirLastToken) {
  const GenerationConfig config{.bad_words_ids = {{4}, {1, 2}, {3, 1, 5}}};
  EXPECT_THAT(forbidden(config, {0, 1}), ElementsAre(2, 4));
  EXPECT_THAT(forbidden(config, {0, 3, 1}), ElementsAre(2, 4, 5));
  EXPECT_THAT(forbidden(config, {3, 1}), ElementsAre(2, 4));  // transformers' rule for short texts
  EXPECT_THAT(forbidden({.bad_words_ids = {{4}}, .eos_token_id = {4}}, {0}), IsEmpty());
}

TEST(HistoryRules, NoEndBeforeTheMinimum) {
  EXPECT_THAT(forbidden({.min_length = 3, .eos_token_id = {2, 99}}, {0, 1}, 2), ElementsAre(2));
  EXPECT_THAT(forbidden({.min_length = 3, .eos_token_id = {2}}, {0, 1, 1}, 2), IsEmpty());
  EXPECT_THAT(forbidden({.min_new_tokens = 2, .eos_token_id = {2}}, {0, 1, 1}, 2), ElementsAre(2));
  EXPECT_THAT(forbidden({.min_new_tokens = 2, .eos_token_id = {2}}, {0, 1, 1, 1}, 2), IsEmpty());
}

TEST(HistoryRules, ForcedTokensLeaveNoOther) {
  EXPECT_THAT(forbidden({.forced_bos_token_id = 3}, {0}), ElementsAre(0, 1, 2, 4, 5));
  EXPECT_THAT(forbidden({.forced_bos_token_id = 3}, {0, 1}, 2), IsEmpty());
  const GenerationConfig config{.max_new_tokens = 3, .forced_eos_token_id = {1, 2}};
  EXPECT_THAT(forbidden(config, {0, 0}), IsEmpty());
  EXPECT_THAT(forbidden(config, {0, 0, 0}), ElementsAre(0, 3, 4, 5));
}

TEST(HistoryRules, SuppressedTokensNeverComeOrNotFirst) {
  EXPECT_THAT(forbidden({.suppress_tokens = {1, 77, -1}}, {0, 0, 0}), ElementsAre(1));
  EXPECT_THAT(forbidden({.begin_suppress_tokens = {2}}, {0, 0}, 2), ElementsAre(2));
  EXPECT_THAT(forbidden({.begin_suppress_tokens = {2}}, {0, 0, 0}, 2), IsEmpty());
}

}  // namespace
}  // namespace shoehorn
