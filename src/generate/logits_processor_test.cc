#include "generate/logits_processor.h"

#include <cmath>
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

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<std::int32_t> ids_of(std::span<const Candidate> candidates) {
  std::vector<std::int32_t> ids;
  for (const Candidate& candidate : candidates) ids.push_back(candidate.id);
  return ids;
}

std::vector<float> logits_of(std::span<const Candidate> candidates) {
  std::vector<float> logits;
  for (const Candidate& candidate : candidates) logits.push_back(candidate.logit);
  return logits;
}

std::vector<Candidate> top_k(const std::vector<float>& logits, std::size_t k) {
  std::vector<Candidate> candidates;
  select_top_k(logits, /*temperature=*/1.0f, k, candidates);
  return candidates;
}

// What a first step of transformers' generate draws from, recorded by make_goldens.py.
struct Golden {
  std::string name;
  nlohmann::json data;
};

void PrintTo(const Golden& golden, std::ostream* out) {
  *out << golden.name;
}

std::vector<Golden> goldens(const char* name) {
  std::ifstream file(std::filesystem::path(SHOEHORN_TEST_DATA) / "generate" / name);
  const nlohmann::json recorded = nlohmann::json::parse(file);
  std::vector<Golden> all;
  for (const auto& item : recorded.at("cases")) {
    all.push_back({item.at("name").get<std::string>(), item});
  }
  return all;
}

std::vector<float> log_softmax(std::vector<float> logits) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  for (float& logit : logits) logit = static_cast<float>(logit - std::log(sum));
  return logits;
}

/// What a case's first step draws from; beams see log-probabilities.
std::vector<Candidate> candidates_of(const Golden& golden) {
  const nlohmann::json& data = golden.data;
  GenerationConfig config = parse_generation_config(data.at("config").dump(), golden.name);
  config.do_sample = true;
  const auto prompt = data.at("prompt").get<std::vector<std::int32_t>>();
  std::vector<float> logits = table_logits(prompt.back(), data.at("vocab"), data.at("distinct"));
  if (config.num_beams > 1) logits = log_softmax(logits);
  LogitsProcessor processor(config, prompt.size());
  const auto kept = processor.candidates(processor.penalized(prompt, logits));
  return {kept.begin(), kept.end()};
}

class LogitsProcessorGolden : public ::testing::TestWithParam<Golden> {
 protected:
  std::vector<Candidate> candidates() const { return candidates_of(GetParam()); }
};

TEST_P(LogitsProcessorGolden, KeepsTheTokensThatTransformersKeeps) {
  EXPECT_EQ(ids_of(candidates()), GetParam().data.at("ids").get<std::vector<std::int32_t>>());
}

TEST_P(LogitsProcessorGolden, HasTheScoresOfTransformersBitForBit) {
  EXPECT_EQ(logits_of(candidates()), GetParam().data.at("logits").get<std::vector<float>>());
}

INSTANTIATE_TEST_SUITE_P(Transformers, LogitsProcessorGolden,
                         ::testing::ValuesIn(goldens("logits_processor.json")),
                         [](const auto& test) { return test.param.name; });

class BeamProcessorGolden : public ::testing::TestWithParam<Golden> {};

TEST_P(BeamProcessorGolden, LeavesWhatTransformersLeavesABeam) {
  const std::vector<Candidate> kept = candidates_of(GetParam());
  ASSERT_EQ(ids_of(kept), GetParam().data.at("ids").get<std::vector<std::int32_t>>());
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const float score = GetParam().data.at("logits")[i];
    EXPECT_NEAR(kept[i].logit, score, 2e-6f * std::abs(score)) << kept[i].id;
  }
}

INSTANTIATE_TEST_SUITE_P(Transformers, BeamProcessorGolden,
                         ::testing::ValuesIn(goldens("beam_processor.json")),
                         [](const auto& test) { return test.param.name; });

TEST(ApplyRepetitionPenalty, RepeatedIdIsPenalizedOnce) {
  const std::vector<float> in = {3.0f, -2.0f, 1.0f};
  std::vector<float> out = in;
  apply_repetition_penalty(std::vector<std::int32_t>{0, 1, 0, 1}, 2.0f, in, out);
  EXPECT_THAT(out, ElementsAre(1.5f, -4.0f, 1.0f));
}

TEST(ApplyRepetitionPenalty, IdsOutsideTheVocabularyArePassedOver) {
  const std::vector<float> in = {3.0f};
  std::vector<float> out = in;
  apply_repetition_penalty(std::vector<std::int32_t>{-1, 1, 1 << 30}, 2.0f, in, out);
  EXPECT_THAT(out, ElementsAre(3.0f));
}

TEST(SelectTopK, TiesAtTheBarStay) {
  EXPECT_THAT(ids_of(top_k({1, 3, 2, 2, 0, 2}, 2)), ElementsAre(1, 2, 3, 5));
}

TEST(SelectTopK, NanAndMinusInfinityNeverStay) {
  EXPECT_THAT(ids_of(top_k({kNan, 1, -kInfinity, 2}, 4)), ElementsAre(1, 3));
}

TEST(SelectTopK, EmptyLogitsHaveNoCandidates) {
  EXPECT_TRUE(top_k({}, 5).empty());
}

// Rising logits move the bar all the time; the list is pruned again and again.
TEST(SelectTopK, RisingLogitsKeepTheLast) {
  std::vector<float> logits(100000);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i) * 0.25f;
  EXPECT_THAT(ids_of(top_k(logits, 3)), ElementsAre(99997, 99998, 99999));
}

TEST(SelectTopK, EqualLogitsAllStay) {
  EXPECT_EQ(top_k(std::vector<float>(100000, 1.5f), 3).size(), 100000U);
}

TEST(SelectTopK, LogitsThatTieOnlyAfterDivisionBothStay) {
  // Neighbours in float32 whose quotients by 1.5 round to one value.
  float upper = 1.0f;
  while (upper / 1.5f != std::nextafter(upper, 0.0f) / 1.5f) upper = std::nextafter(upper, 2.0f);
  std::vector<float> logits(5000, 0.25f);  // long enough for the bar to be raised before the pair
  logits[10] = upper;
  logits[4990] = std::nextafter(upper, 0.0f);
  std::vector<Candidate> candidates;
  select_top_k(logits, /*temperature=*/1.5f, /*k=*/1, candidates);
  EXPECT_THAT(ids_of(candidates), ElementsAre(10, 4990));
}

TEST(ApplyTopP, OfEqualLogitsTheHigherIdsStay) {
  std::vector<Candidate> candidates = {{3, 1.0f}, {5, 1.0f}, {8, 1.0f}, {9, 1.0f}};
  apply_top_p(0.5, candidates);
  EXPECT_THAT(ids_of(candidates), ElementsAre(8, 9));
}

TEST(ApplyTopP, ProbabilityThatEqualsTheRestIsDropped) {
  // Probabilities 1/4, 3/4: the first is exactly 1 - top_p.
  std::vector<Candidate> candidates = {{0, 0.0f}, {1, std::log(3.0f)}};
  apply_top_p(0.74, candidates);
  EXPECT_THAT(ids_of(candidates), ElementsAre(1));
}

TEST(ApplyTopP, FarApartLogitsKeepTheLikeliest) {
  std::vector<Candidate> candidates = {{0, -3e38f}, {1, 3e38f}, {2, 0.0f}};
  apply_top_p(0.9, candidates);
  EXPECT_THAT(ids_of(candidates), ElementsAre(1));
}

TEST(ApplyTopP, OneCandidateStays) {
  std::vector<Candidate> candidates = {{7, -2.0f}};
  apply_top_p(0.0, candidates);
  EXPECT_THAT(ids_of(candidates), ElementsAre(7));
}

TEST(ApplyTopH, TheLikeliestStaysAndOfEqualOnesTheLowerIds) {
  std::vector<Candidate> candidates = {{3, 1.0f}, {5, 1.0f}, {8, 1.0f}, {9, 1.0f}};
  apply_top_h(0.6, candidates);
  EXPECT_THAT(ids_of(candidates), ElementsAre(3, 5));
  apply_top_h(1e-9, candidates);
  EXPECT_THAT(ids_of(candidates), ElementsAre(3));
}

TEST(AddSequenceBias, IdsOutsideTheVocabularyArePassedOver) {
  const std::vector<SequenceBias> biases = {{{-1}, 1.0}, {{7}, 1.0}, {{4, 1}, 2.0}, {{9, 0}, 5.0}};
  std::vector<float> logits = {0, 0, 0};
  add_sequence_bias(biases, std::vector<std::int32_t>{3, 4}, logits);
  EXPECT_THAT(logits, ElementsAre(0, 2, 0));
}

TEST(LogitsProcessor, PenaltyOfOneCopiesNothing) {
  LogitsProcessor processor({}, 0);
  const std::vector<float> logits = {1.0f, 2.0f};
  EXPECT_EQ(processor.penalized({}, logits).data(), logits.data());
}

TEST(LogitsProcessor, LogitsWithoutANumberAreAnError) {
  LogitsProcessor processor({}, 0);
  EXPECT_THROW(processor.candidates(std::vector<float>{kNan, -kInfinity}), Error);
}

TEST(LogitsProcessor, InfiniteLogitIsAnError) {
  LogitsProcessor processor({}, 0);
  EXPECT_THROW(processor.candidates(std::vector<float>{1.0f, kInfinity}), Error);
}

}  // namespace
}  // namespace shoehorn
