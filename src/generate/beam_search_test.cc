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
}

/// The last of the two best of four continuations that two sampled beams draw of six tokens.
std::int32_t second_drawn(std::uint64_t seed) {
  TableBatch source(6, 16, 2);
  const GenerationConfig config{.max_new_tokens = 1,
                                .do_sample = true,
                                .temperature = 4.0,
                                .num_beams = 2,
                                .num_return_sequences = 2};
  const auto found = beam_search(source, std::vector<std::int32_t>{3}, config, {.seed = seed});
  return found.at(1).ids.at(0);
}

/// How likely that is for each of them: every way to draw four of `p` without replacement.
std::vector<double> second_of_four(const std::vector<double>& p) {
  std::vector<double> shares(p.size(), 0.0);
  std::vector<std::size_t> drawn;
  const auto draw = [&](const auto& self, double share, double left) -> void {
    if (drawn.size() == 4) {
      std::vector<std::size_t> best = drawn;
      std::ranges::sort(best, [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
      shares[best[1]] += share;
      return;
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (std::ranges::find(drawn, i) != drawn.end()) continue;
      drawn.push_back(i);
      self(self, share * p[i] / left, left - p[i]);
      drawn.pop_back();
    }
  };
  draw(draw, 1.0, 1.0);
  return shares;
}

TEST(BeamSearch, DrawsBeamsInProportion) {
  std::vector<double> p;
  double sum = 0;
  // Log-probabilities over the temperature, as TemperatureLogitsWarper leaves them.
  for (const float logit : table_logits(3, 6, 16)) sum += p.emplace_back(std::exp(logit / 4.0));
  for (double& x : p) x /= sum;
  const std::vector<double> expected = second_of_four(p);
  constexpr int kDraws = 20000;
  std::vector<int> counts(p.size(), 0);
  for (int seed = 0; seed < kDraws; ++seed) {
    ++counts[static_cast<std::size_t>(second_drawn(static_cast<std::uint64_t>(seed)))];
  }
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double deviation = std::sqrt(kDraws * expected[i] * (1 - expected[i]));
    EXPECT_NEAR(counts[i], kDraws * expected[i], 4 * deviation + 1e-9) << i;
  }
}

TEST(BeamSearch, SamplesTheSameForASeed) {
  const GenerationConfig config{
      .max_new_tokens = 8, .do_sample = true, .temperature = 3.0, .num_beams = 3};
  const auto ids = [&](std::uint64_t seed) {
    TableBatch source(48, 65536, 3);
    return beam_search(source, kPrompt, config, {.seed = seed}).at(0).ids;
  };
  EXPECT_EQ(ids(1), ids(1));
  EXPECT_NE(ids(1), ids(2));
}

}  // namespace
}  // namespace shoehorn
