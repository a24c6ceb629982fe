#include "generate/token_loop.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "generate/table_logits.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// The logits after a token depend on that token alone. Counts what it was asked.
class TableSource : public LogitsSource {
 public:
  TableSource(std::int64_t vocab, std::int64_t distinct) : vocab_(vocab), distinct_(distinct) {}

  std::span<const float> prefill(std::span<const std::int32_t> ids) override {
    prompts.emplace_back(ids.begin(), ids.end());
    return after(ids.back());
  }
  std::span<const float> next(std::int32_t id) override {
    steps.push_back(id);
    return after(id);
  }

  std::vector<std::vector<std::int32_t>> prompts;
  std::vector<std::int32_t> steps;

 private:
  std::span<const float> after(std::int32_t id) {
    logits_ = table_logits(id, vocab_, distinct_);
    return logits_;
  }

  std::int64_t vocab_;
  std::int64_t distinct_;
  std::vector<float> logits_;
};

constexpr std::int64_t kVocab = 48;
constexpr std::int64_t kDistinct = 65536;
const std::vector<std::int32_t> kPrompt = {5, 11, 17};

// The whole generation.
TokenLoopResult run(LogitsSource& source, const GenerationConfig& config,
                    std::span<const std::int32_t> prompt = kPrompt) {
  TokenLoop loop(source, nullptr, prompt, config);
  std::string piece;
  while (loop.step(piece)) EXPECT_EQ(piece, "");
  return loop.result();
}

// Whole greedy generations of transformers, recorded by make_goldens.py.
struct Golden {
  std::string name;
  nlohmann::json data;
};

void PrintTo(const Golden& golden, std::ostream* out) {
  *out << golden.name;
}

std::vector<Golden> goldens() {
  std::ifstream file(std::filesystem::path(SHOEHORN_TEST_DATA) / "generate/generate.json");
  const nlohmann::json recorded = nlohmann::json::parse(file);
  std::vector<Golden> all;
  for (const auto& item : recorded.at("cases")) {
    all.push_back({item.at("name").get<std::string>(), item});
  }
  return all;
}

class TokenLoopGolden : public ::testing::TestWithParam<Golden> {};

TEST_P(TokenLoopGolden, MakesTheIdsThatTransformersMakes) {
  const nlohmann::json& data = GetParam().data;
  const GenerationConfig config = parse_generation_config(data.at("config").dump(), "config");
  TableSource source(data.at("vocab"), data.at("distinct"));
  const auto prompt = data.at("prompt").get<std::vector<std::int32_t>>();
  EXPECT_EQ(run(source, config, prompt).ids, data.at("ids").get<std::vector<std::int32_t>>());
}

INSTANTIATE_TEST_SUITE_P(Transformers, TokenLoopGolden, ::testing::ValuesIn(goldens()),
                         [](const auto& test) { return test.param.name; });

TEST(TokenLoop, PromptIsGivenAtOnceAndEachIdButTheLastOnce) {
  TableSource source(kVocab, kDistinct);
  const TokenLoopResult result = run(source, {.max_new_tokens = 4});
  EXPECT_THAT(source.prompts, ElementsAre(kPrompt));
  EXPECT_THAT(source.steps, ElementsAre(result.ids[0], result.ids[1], result.ids[2]));
}

TEST(TokenLoop, MaxNewTokensIsTheReason) {
  TableSource source(kVocab, kDistinct);
  EXPECT_EQ(run(source, {.max_new_tokens = 4}).finish_reason, FinishReason::kLength);
}

TEST(TokenLoop, NoTokensWantedLeavesTheModelAlone) {
  TableSource source(kVocab, kDistinct);
  EXPECT_THAT(run(source, {.max_new_tokens = 0}).ids, IsEmpty());
  EXPECT_THAT(source.prompts, IsEmpty());
}

TEST(TokenLoop, EosIsTheLastIdAndTheReason) {
  TableSource source(kVocab, kDistinct);
  const std::int32_t second = run(source, {.max_new_tokens = 8}).ids[1];
  const TokenLoopResult result = run(source, {.max_new_tokens = 8, .eos_token_id = {second}});
  EXPECT_EQ(result.ids.size(), 2U);
  EXPECT_EQ(result.finish_reason, FinishReason::kEos);
}

TEST(TokenLoop, EosAsTheLastPossibleIdIsStillTheReason) {
  TableSource source(kVocab, kDistinct);
  const std::int32_t second = run(source, {.max_new_tokens = 2}).ids[1];
  EXPECT_EQ(run(source, {.max_new_tokens = 2, .eos_token_id = {second}}).finish_reason,
            FinishReason::kEos);
}

TEST(TokenLoop, IgnoredEosDoesNotEnd) {
  TableSource source(kVocab, kDistinct);
  const std::int32_t second = run(source, {.max_new_tokens = 8}).ids[1];
  EXPECT_EQ(
      run(source, {.max_new_tokens = 8, .eos_token_id = {second}, .ignore_eos = true}).ids.size(),
      8U);
}

TEST(TokenLoop, EosInThePromptDoesNotEnd) {
  TableSource source(kVocab, kDistinct);
  EXPECT_EQ(run(source, {.max_new_tokens = 1, .eos_token_id = {kPrompt.back()}}).ids.size(), 1U);
}

TEST(TokenLoop, EmptyPromptIsTheBosToken) {
  TableSource source(kVocab, kDistinct);
  run(source, {.max_new_tokens = 1, .bos_token_id = 7}, {});
  EXPECT_THAT(source.prompts, ElementsAre(std::vector<std::int32_t>{7}));
}

TEST(TokenLoop, EmptyPromptWithoutBosIsAnError) {
  TableSource source(kVocab, kDistinct);
  EXPECT_THROW(run(source, {}, {}), ArgumentError);
}

TEST(TokenLoop, StopStringsWithoutATokenizerAreAnError) {
  TableSource source(kVocab, kDistinct);
  EXPECT_THROW(run(source, {.stop_strings = {"x"}}), ArgumentError);
}

TEST(TokenLoop, SameSeedDrawsTheSame) {
  TableSource source(kVocab, kDistinct);
  const GenerationConfig config = {
      .max_new_tokens = 50, .do_sample = true, .temperature = 3.0, .seed = 1};
  EXPECT_EQ(run(source, config).ids, run(source, config).ids);
}

TEST(TokenLoop, AnotherSeedDrawsOtherwise) {
  TableSource source(kVocab, kDistinct);
  GenerationConfig config = {
      .max_new_tokens = 50, .do_sample = true, .temperature = 3.0, .seed = 1};
  const TokenLoopResult first = run(source, config);
  config.seed = 2;
  EXPECT_NE(run(source, config).ids, first.ids);
}

TEST(TokenLoop, SeedThatWasNotGivenIsReportedAndRepeatsTheDraws) {
  TableSource source(kVocab, kDistinct);
  GenerationConfig config = {.max_new_tokens = 50, .do_sample = true, .temperature = 3.0};
  const TokenLoopResult first = run(source, config);
  config.seed = first.seed;
  EXPECT_EQ(run(source, config).ids, first.ids);
}

TEST(TokenLoop, CancelledBeforeItBeginsMakesNothing) {
  TableSource source(kVocab, kDistinct);
  TokenLoop loop(source, nullptr, kPrompt, {});
  loop.cancel();
  std::string piece;
  EXPECT_FALSE(loop.step(piece));
  EXPECT_EQ(loop.result().finish_reason, FinishReason::kCancelled);
  EXPECT_THAT(source.prompts, IsEmpty());
}

TEST(TokenLoop, CancelEndsItBeforeTheNextStep) {
  TableSource source(kVocab, kDistinct);
  TokenLoop loop(source, nullptr, kPrompt, {.max_new_tokens = 9});
  std::string piece;
  loop.step(piece);
  loop.cancel();
  EXPECT_FALSE(loop.step(piece));
  EXPECT_EQ(loop.result().ids.size(), 1U);
  EXPECT_EQ(loop.result().finish_reason, FinishReason::kCancelled);
}

TEST(TokenLoop, CancelAfterTheEndDoesNotChangeTheReason) {
  TableSource source(kVocab, kDistinct);
  TokenLoop loop(source, nullptr, kPrompt, {.max_new_tokens = 1});
  std::string piece;
  loop.step(piece);
  loop.cancel();
  EXPECT_FALSE(loop.step(piece));
  EXPECT_EQ(loop.result().finish_reason, FinishReason::kLength);
}

TEST(TokenLoop, LogitsThatAreNoNumbersAreAnError) {
  class NanSource : public LogitsSource {
   public:
    std::span<const float> prefill(std::span<const std::int32_t>) override { return logits_; }
    std::span<const float> next(std::int32_t) override { return logits_; }

   private:
    std::vector<float> logits_ = std::vector<float>(8, std::numeric_limits<float>::quiet_NaN());
  };
  NanSource source;
  EXPECT_THROW(run(source, {}), Error);
}

TEST(TokenLoop, RatesComeFromTheirOwnTimes) {
  TokenLoopResult result;
  result.ids = {1, 2, 3, 4, 5};
  result.prompt_tokens = 100;
  result.prefill_s = 0.5;
  result.decode_s = 2.0;
  EXPECT_EQ(result.prefill_tok_s(), 200.0);
  EXPECT_EQ(result.decode_tok_s(), 2.0);  // four steps after the first id
}

TEST(TokenLoop, TimesAddUp) {
  TableSource source(kVocab, kDistinct);
  const TokenLoopResult result = run(source, {.max_new_tokens = 5});
  EXPECT_GT(result.prefill_s, 0);
  EXPECT_GE(result.ttft_s, result.prefill_s);
  EXPECT_GT(result.decode_s, 0);
}

TEST(TokenLoop, AStepIsAnId) {
  TableSource source(kVocab, kDistinct);
  TokenLoop loop(source, nullptr, kPrompt, {.max_new_tokens = 2});
  std::string piece;
  EXPECT_TRUE(loop.step(piece));
  EXPECT_EQ(loop.result().ids.size(), 1U);
  EXPECT_TRUE(loop.step(piece));
  EXPECT_FALSE(loop.step(piece));
  EXPECT_FALSE(loop.step(piece));
  EXPECT_EQ(loop.result().ids.size(), 2U);
}

}  // namespace
}  // namespace shoehorn
