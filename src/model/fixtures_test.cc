// The fixtures of tests/data/models: logits and greedy ids recorded from transformers 5.23 in
// float32 (torch 2.15 on a CPU), by either spelling of their configs, on every device of host
// memory, in every way to feed a prompt and to store experts.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "checkpoint/testing_files.h"
#include "model/testing_golden.h"
#include "model/testing_model.h"

namespace shoehorn {
namespace {

using testing::both_prompts;
using testing::distance;
using testing::Golden;

// Float32 in any order of summation lands at 9e-6; the weakest real mistake is 1e-4.
constexpr double kTolerance = 5e-5;

struct Case {
  std::string name;
  std::string config = "config.json";
};

class Fixture : public ::testing::TestWithParam<Case> {
 protected:
  std::string name() const { return GetParam().name; }
  std::string config() const { return GetParam().config; }
  std::unique_ptr<LoadedModel> load(testing::TestModelOptions options = {}) const {
    options.config = config();
    if (!options.dtype) options.dtype = DType::kF32;
    return testing::load_test_model(testing::model_folder(name()), options);
  }
};

TEST_P(Fixture, LogitsAreTransformers) {
  const Golden golden(name());
  EXPECT_LT(distance(both_prompts(*load(), golden), golden.floats("logits")), kTolerance);
}

TEST_P(Fixture, EveryInstructionSetAgrees) {
  const Golden golden(name());
  for (int isa = 0; isa <= static_cast<int>(detect_isa()); ++isa) {
    const auto model = load({.isa = static_cast<Isa>(isa)});
    EXPECT_LT(distance(both_prompts(*model, golden), golden.floats("logits")), kTolerance);
  }
}

TEST_P(Fixture, ChunksAgreeWithTheWhole) {
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

TEST_P(Fixture, GreedyIdsAreTransformers) {
  const Golden golden(name());
  const bool dynamic = name() == "llama-rope-dynamic";
  const auto want = golden.ids(dynamic ? "greedy_ids_cached" : "greedy_ids");
  EXPECT_EQ(testing::greedy_ids(*load(), golden, want.size()), want);
}

/// What was recorded of a padded batch, its pads left out.
struct Padded {
  explicit Padded(const Golden& golden) : mask(golden.ids("attention_mask")) {
    const auto all_ids = golden.ids("padded_input_ids");
    const auto all_positions = golden.ids("padded_position_ids");
    const auto all_logits = golden.floats("padded_logits");
    const std::size_t length = mask.size() / 2;
    const std::size_t vocab = all_logits.size() / mask.size();
    for (std::size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] == 0) continue;
      ids[i / length].push_back(all_ids[i]);
      positions[i / length].push_back(all_positions[i]);
      const auto first = all_logits.begin() + static_cast<std::ptrdiff_t>(i * vocab);
      logits.insert(logits.end(), first, first + static_cast<std::ptrdiff_t>(vocab));
    }
  }
  std::vector<std::int32_t> mask;
  std::array<std::vector<std::int32_t>, 2> ids;
  std::array<std::vector<std::int32_t>, 2> positions;
  std::vector<float> logits;
};

TEST_P(Fixture, PaddedRowsAreTransformers) {
  const Golden golden(name());
  if (golden.file.find("padded_logits") == nullptr) GTEST_SKIP() << "none was recorded";
  const Padded padded(golden);
  const auto model = load();
  const auto longest =
      static_cast<std::int64_t>(std::max(padded.ids[0].size(), padded.ids[1].size()));
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<BatchSequence> batch;
  for (std::size_t row = 0; row < 2; ++row) {
    caches.push_back(model->new_kv_cache(longest));
    batch.push_back({.ids = padded.ids[row],
                     .positions = padded.positions[row],
                     .kv = caches[row].get(),
                     .call_length = longest,
                     .logits = BatchSequence::Logits::kAll});
  }
  std::vector<float> logits(padded.logits.size());
  model->run(batch, logits);
  EXPECT_LT(distance(logits, padded.logits), kTolerance);
}

TEST_P(Fixture, AnyNumberOfThreadsGivesTheSameBits) {
  const Golden golden(name());
  EXPECT_EQ(both_prompts(*load({.threads = 1}), golden),
            both_prompts(*load({.threads = 3}), golden));
}

TEST_P(Fixture, AnyDeviceMapGivesTheSameBits) {
  const Golden golden(name());
  const auto want = both_prompts(*load(), golden);
  const testing::TempFolder cache;  // of experts that are stored [in, out]
  const auto architecture = testing::architecture_of(name(), config());
  for (int map = 0; map < 12; ++map) {
    const auto place =
        testing::random_map(*architecture, map,
                            {Device{}, Device{DeviceKind::kDisk}, Device{DeviceKind::kVirtual, 0},
                             Device{DeviceKind::kVirtual, 1}});
    const auto model = load({.device_of = place, .offload_folder = cache.path()});
    ASSERT_EQ(both_prompts(*model, golden), want) << map;
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : {"llama",
                           "llama-tied-bias",
                           "llama-rope-llama3",
                           "llama-rope-linear",
                           "llama-rope-yarn",
                           "llama-rope-dynamic",
                           "llama-bf16",
                           "llama-sharded",
                           "mistral",
                           "qwen2",
                           "qwen2-sliding",
                           "qwen2-f64",
                           "qwen3",
                           "gemma",
                           "gemma-bf16",
                           "gemma2",
                           "gemma3_text",
                           "phi",
                           "phi-qk-norm",
                           "phi3",
                           "phi3-longrope",
                           "stablelm",
                           "stablelm-parallel",
                           "starcoder2",
                           "olmo2",
                           "cohere",
                           "cohere-qk-norm",
                           "granite",
                           "glm4",
                           "smollm3",
                           "gpt2",
                           "gpt2-scaled",
                           "gpt2-bin-sharded",
                           "gptj",
                           "gpt_neox-parallel",
                           "gpt_neox-sequential",
                           "opt-pre-ln",
                           "opt-post-ln",
                           "opt-f16",
                           "bloom",
                           "bloom-heads6",
                           "falcon-7b",
                           "falcon-new",
                           "falcon-rw",
                           "mixtral",
                           "qwen3_moe",
                           "qwen3_moe-raw",
                           "gpt_oss",
                           "deepseek_v3",
                           "deepseek_v3-yarn"}) {
    all.push_back({name});
    all.push_back({name, "config.v4.json"});
  }
  // What only our own scripts write: experts in MXFP4, linear layers of 8-bit floats, all experts
  // in one tensor.
  for (const char* name : {"gpt_oss-mxfp4", "deepseek_v3-fp8", "qwen3_moe-stacked"}) {
    all.push_back({name});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, Fixture, ::testing::ValuesIn(cases()), [](const auto& info) {
  std::string name = info.param.name;
  if (info.param.config != "config.json") name += "_v4";
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace shoehorn
