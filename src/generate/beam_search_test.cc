// Beam searches over the table model, held against those of transformers (beams.json, recorded by
// tests/data/generate/make_goldens.py).
#include "generate/beam_search.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <ostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "generate/table_logits.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

/// Remembers what every slot holds and checks that each step continues it.
class TableBatch : public BatchLogitsSource {
 public:
  TableBatch(std::int64_t vocab, std::int64_t distinct, std::size_t slots)
      : vocab_(vocab), distinct_(distinct), slots_(slots) {}

  std::span<const float> run(std::span<const SequenceStep> steps) override {
    logits_.clear();
    for (const SequenceStep& step : steps) {
      std::vector<std::int32_t>& slot = slots_.at(step.slot);
      EXPECT_LE(step.keep, slot.size());
      EXPECT_FALSE(step.ids.empty());
      slot.resize(step.keep);
      slot.insert(slot.end(), step.ids.begin(), step.ids.end());
      ids_run += step.ids.size();
      const auto row = table_logits(slot.back(), vocab_, distinct_);
      logits_.insert(logits_.end(), row.begin(), row.end());
    }
    ++runs;
    return logits_;
  }

  std::size_t runs = 0;
  std::size_t ids_run = 0;

 private:
  std::int64_t vocab_;
  std::int64_t distinct_;
  std::vector<std::vector<std::int32_t>> slots_;
  std::vector<float> logits_;
};

struct Golden {
  std::string name;
  nlohmann::json data;
};
void PrintTo(const Golden& golden, std::ostream* out) {
  *out << golden.name;
}
std::vector<Golden> goldens() {
  std::ifstream file(std::filesystem::path(SHOEHORN_TEST_DATA) / "generate/beams.json");
  std::vector<Golden> all;
  const nlohmann::json recorded = nlohmann::json::parse(file);
  for (const auto& item : recorded.at("cases")) {
    all.push_back({item.at("name").get<std::string>(), item});
  }
  return all;
}

class BeamSearchGolden : public ::testing::TestWithParam<Golden> {};

TEST_P(BeamSearchGolden, FindsWhatTransformersFinds) {
  const nlohmann::json& data = GetParam().data;
  const GenerationConfig config = parse_generation_config(data.at("config").dump(), "config");
  const auto prompt = data.at("prompt").get<std::vector<std::int32_t>>();
  TableBatch source(data.at("vocab"), data.at("distinct"),
                    static_cast<std::size_t>(config.num_beams));
  const auto found = beam_search(source, prompt, config);
  const auto ids = data.at("ids").get<std::vector<std::vector<std::int32_t>>>();
  ASSERT_EQ(found.size(), ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(found[i].ids, ids[i]) << i;
    const double score = data.at("scores")[i];
    EXPECT_NEAR(found[i].score, score, 2e-6 * std::abs(score)) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Transformers, BeamSearchGolden, ::testing::ValuesIn(goldens()),
                         [](const auto& test) { return test.param.name; });

const std::vector<std::int32_t> kPrompt = {5, 11, 17};

TEST(BeamSearch, RunsEveryBeamOnceAToken) {
  TableBatch source(48, 65536, 4);
  beam_search(source, kPrompt, {.max_new_tokens = 6, .num_beams = 4});
  EXPECT_EQ(source.runs, 6U);
  // The prompt once for each beam, and some tokens again where beams split.
  EXPECT_LT(source.ids_run, 4 * (kPrompt.size() + 6) + 40);
}

TEST(BeamSearch, EndsAtAStopString) {
  TableBatch source(48, 65536, 2);
  const BeamSearchOptions options{
      .has_stop_string = [](std::span<const std::int32_t> ids) { return ids.size() == 3; }};
  const auto found = beam_search(source, kPrompt, {.max_new_tokens = 9, .num_beams = 2}, options);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_THAT(found[0].ids, SizeIs(3));
  EXPECT_EQ(found[0].finish_reason, FinishReason::kStopString);
}

/// Only the ids that follow one another.
class Counting : public TokenConstraint {
 public:
  void restrict(std::span<float> logits) override {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (static_cast<std::int32_t>(i) != next_) logits[i] = -INFINITY;
    }
  }
  void accept(std::int32_t id) override { next_ = id + 1; }
  bool is_complete() override { return false; }
  std::unique_ptr<TokenConstraint> clone() const override {
    return std::make_unique<Counting>(*this);
  }

 private:
  std::int32_t next_ = 0;
};

TEST(BeamSearch, KeepsToAConstraint) {
  TableBatch source(48, 65536, 3);
  const Counting counting;
  const auto found = beam_search(source, kPrompt, {.max_new_tokens = 4, .num_beams = 3},
                                 {.constraint = &counting});
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_THAT(found[0].ids, ElementsAre(0, 1, 2, 3));
}

TEST(BeamSearch, GivesWhatItHasWhenCancelled) {
  TableBatch source(48, 65536, 2);
  const std::atomic<bool> cancelled = true;
  const auto found = beam_search(source, kPrompt, {.max_new_tokens = 4, .num_beams = 2},
                                 {.cancelled = &cancelled});
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].finish_reason, FinishReason::kCancelled);
}

TEST(BeamSearch, RefusesWhatItCannotDo) {
  TableBatch source(48, 65536, 2);
  EXPECT_THROW(beam_search(source, kPrompt, {.num_beams = 2, .num_return_sequences = 3}),
               ArgumentError);
  EXPECT_THROW(beam_search(source, kPrompt, {.do_sample = true, .num_beams = 2}), UnsupportedError);
}

}  // namespace
}  // namespace shoehorn
