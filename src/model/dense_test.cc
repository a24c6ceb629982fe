// The fixtures of dense decoders: logits and greedy ids recorded from transformers 5.23 in float32
// (torch 2.15 on a CPU), by either spelling of their configs, on every device of host memory, in
// every way to feed a prompt.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "model/testing_golden.h"
#include "model/testing_model.h"

namespace shoehorn {
namespace {

using testing::both_prompts;
using testing::distance;
using testing::Golden;

// Float32 in any order of summation lands at 5e-6; the weakest real mistake is 1e-4.
constexpr double kTolerance = 5e-5;

class DenseFixture : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  std::string name() const { return std::get<0>(GetParam()); }
  std::string config() const { return std::get<1>(GetParam()); }
  std::unique_ptr<LoadedModel> load(testing::TestModelOptions options = {}) const {
    options.config = config();
    if (!options.dtype) options.dtype = DType::kF32;
    return testing::load_test_model(testing::model_folder(name()), options);
  }
};

TEST_P(DenseFixture, LogitsAreTransformers) {
  const Golden golden(name());
  EXPECT_LT(distance(both_prompts(*load(), golden), golden.floats("logits")), kTolerance);
}

TEST_P(DenseFixture, EveryInstructionSetAgrees) {
  const Golden golden(name());
  for (int isa = 0; isa <= static_cast<int>(detect_isa()); ++isa) {
    const auto model = load({.isa = static_cast<Isa>(isa)});
    EXPECT_LT(distance(both_prompts(*model, golden), golden.floats("logits")), kTolerance);
  }
}

TEST_P(DenseFixture, ChunksAgreeWithTheWhole) {
  // Dynamic scaling and longrope depend on the length of the call, so its chunks are other calls.
  if (name() == "llama-rope-dynamic" || name() == "phi3-longrope") GTEST_SKIP();
  const Golden golden(name());
  const auto model = load();
  for (const std::size_t step : {1, 5, 23}) {
    EXPECT_LT(distance(both_prompts(*model, golden, step), golden.floats("logits")), kTolerance)
        << step;
  }
  const auto short_passes = load({.max_rows = 7});
  EXPECT_LT(distance(both_prompts(*short_passes, golden), golden.floats("logits")), kTolerance);
}

TEST_P(DenseFixture, GreedyIdsAreTransformers) {
  const Golden golden(name());
  const bool dynamic = name() == "llama-rope-dynamic";
  const auto want = golden.ids(dynamic ? "greedy_ids_cached" : "greedy_ids");
  EXPECT_EQ(testing::greedy_ids(*load(), golden, want.size()), want);
}

TEST_P(DenseFixture, PaddedRowsAreTransformers) {
  const Golden golden(name());
  const auto ids = golden.ids("padded_input_ids");
  const auto mask = golden.ids("attention_mask");
  const auto positions = golden.ids("padded_position_ids");
  const auto want = golden.floats("padded_logits");
  const auto model = load();
  const auto vocab = static_cast<std::size_t>(model->architecture().shape().vocab_size);
  const std::size_t length = ids.size() / 2;
  std::vector<std::vector<std::int32_t>> row_ids(2);
  std::vector<std::vector<std::int32_t>> row_positions(2);
  std::vector<std::unique_ptr<KvCache>> caches;
  std::int32_t longest = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (mask[i] == 0) continue;
    row_ids[i / length].push_back(ids[i]);
    row_positions[i / length].push_back(positions[i]);
    longest = std::max(longest, positions[i] + 1);
  }
  std::vector<BatchSequence> batch;
  for (std::size_t row = 0; row < 2; ++row) {
    caches.push_back(model->new_kv_cache(static_cast<std::int64_t>(length)));
    batch.push_back({.ids = row_ids[row],
                     .positions = row_positions[row],
                     .kv = caches[row].get(),
                     .call_length = longest,
                     .logits = BatchSequence::Logits::kAll});
  }
  std::vector<float> logits((row_ids[0].size() + row_ids[1].size()) * vocab);
  model->run(batch, logits);
  std::vector<float> real;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (mask[i] == 0) continue;
    const auto first = want.begin() + static_cast<std::ptrdiff_t>(i * vocab);
    real.insert(real.end(), first, first + static_cast<std::ptrdiff_t>(vocab));
  }
  EXPECT_LT(distance(logits, real), kTolerance);
}

TEST_P(DenseFixture, AnyDeviceMapGivesTheSameBits) {
  const Golden golden(name());
  const auto want = both_prompts(*load(), golden);
  const std::string folder = ::testing::TempDir() + "shoehorn-dense-test";
  const auto architecture = testing::architecture_of(name(), config());
  for (int map = 0; map < 12; ++map) {
    const auto place =
        testing::random_map(*architecture, map,
                            {Device{}, Device{DeviceKind::kDisk}, Device{DeviceKind::kVirtual, 0},
                             Device{DeviceKind::kVirtual, 1}});
    ASSERT_EQ(both_prompts(*load({.device_of = place, .offload_folder = folder}), golden), want)
        << map;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, DenseFixture,
    ::testing::Combine(
        ::testing::Values("llama", "llama-tied-bias", "llama-rope-llama3", "llama-rope-linear",
                          "llama-rope-yarn", "llama-rope-dynamic", "llama-bf16", "llama-sharded",
                          "mistral", "qwen2", "qwen2-sliding", "qwen2-f64", "qwen3", "gemma",
                          "gemma-bf16", "gemma2", "gemma3_text", "phi", "phi-qk-norm", "phi3",
                          "phi3-longrope", "stablelm", "stablelm-parallel", "starcoder2", "olmo2",
                          "cohere", "cohere-qk-norm", "granite", "glm4", "smollm3", "gpt2",
                          "gpt2-scaled", "gpt2-bin-sharded", "gptj", "gpt_neox-parallel",
                          "gpt_neox-sequential", "opt-pre-ln", "opt-post-ln", "opt-f16", "bloom",
                          "bloom-heads6", "falcon-7b", "falcon-new", "falcon-rw"),
        ::testing::Values("config.json", "config.v4.json")),
    [](const auto& info) {
      std::string name =
          std::get<0>(info.param) + (std::get<1>(info.param) == "config.json" ? "" : "_v4");
      std::ranges::replace(name, '-', '_');
      return name;
    });

TEST(LearnedPositions, EndWhereTheTableEnds) {
  for (const char* name : {"gpt2", "opt-pre-ln"}) {
    const auto model = testing::load_test_model(testing::model_folder(name));
    const DecoderShape& shape = model->architecture().shape();
    std::vector<float> logits(static_cast<std::size_t>(shape.vocab_size));
    const auto run_at = [&](std::int64_t position) {
      const std::vector<std::int32_t> ids = {1};
      const std::vector<std::int32_t> positions = {static_cast<std::int32_t>(position)};
      const auto kv = model->new_kv_cache(1);
      const BatchSequence sequence{
          .ids = ids, .positions = positions, .kv = kv.get(), .call_length = position + 1};
      model->run({&sequence, 1}, logits);
    };
    EXPECT_NO_THROW(run_at(shape.max_position_embeddings - 1)) << name;
    EXPECT_THROW(run_at(shape.max_position_embeddings), PlanError) << name;
    EXPECT_THROW(run_at(-1), PlanError) << name;
  }
}

TEST(Llama, ABfloat16RunIsNoFurtherFromTruthThanTransformers) {
  const Golden golden("llama-bf16");
  const auto model =
      testing::load_test_model(testing::model_folder("llama-bf16"), {.kv_dtype = DType::kBF16});
  const auto logits = both_prompts(*model, golden);
  const auto truth = golden.floats("logits");
  double sum = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) sum += std::abs(logits[i] - truth[i]);
  // transformers' own bfloat16 run is 0.013 away on average.
  EXPECT_LT(sum / static_cast<double>(truth.size()), 0.013);
}

TEST(Llama, AnInt8CacheMovesLogitsALittle) {
  const Golden golden("llama");
  const auto folder = testing::model_folder("llama");
  const auto floats = both_prompts(*testing::load_test_model(folder, {}), golden);
  const auto codes =
      both_prompts(*testing::load_test_model(folder, {.kv_dtype = DType::kI8}), golden);
  double sum = 0;
  double size = 0;
  for (std::size_t i = 0; i < floats.size(); ++i) {
    sum += std::abs(codes[i] - floats[i]);
    size += std::abs(floats[i]);
  }
  EXPECT_GT(sum, 0.0);
  EXPECT_LT(sum / size, 0.02);  // 0.0134 with this model's random weights
}

TEST(Llama, AnInt8CacheGivesTheSameBitsOnAnyMap) {
  const Golden golden("llama");
  const auto folder = testing::model_folder("llama");
  const auto want =
      both_prompts(*testing::load_test_model(folder, {.kv_dtype = DType::kI8}), golden);
  const auto place = [](std::string_view path) {
    return path.find("layers.1") == std::string_view::npos ? Device{DeviceKind::kVirtual, 1}
                                                           : Device{DeviceKind::kDisk};
  };
  const auto there = testing::load_test_model(folder, {.device_of = place, .kv_dtype = DType::kI8});
  EXPECT_EQ(both_prompts(*there, golden), want);
}

}  // namespace
}  // namespace shoehorn
