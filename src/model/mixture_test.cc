// Mixtures of experts: logits and greedy ids recorded from transformers (tests/data/models), on
// every device, in every way to feed a prompt and to store experts.

#include <algorithm>
#include <array>
#include <functional>
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

struct Fixture {
  std::string name;
  std::string config = "config.json";
};

class MixtureFixture : public ::testing::TestWithParam<Fixture> {
 protected:
  std::string name() const { return GetParam().name; }
  std::unique_ptr<LoadedModel> load(testing::TestModelOptions options = {}) const {
    options.config = GetParam().config;
    if (!options.dtype) options.dtype = DType::kF32;
    return testing::load_test_model(testing::model_folder(name()), options);
  }
};

/// A device for every unit of a model: whole layers in even maps, tensors in odd ones.
Device some_device(std::string_view path, int map) {
  std::string unit(path);
  if (map % 2 == 0 && unit.find("layers.") != std::string::npos) unit = unit.substr(0, 14);
  const std::size_t hash = std::hash<std::string>()(unit + std::to_string(map));
  const std::array devices = {Device{}, Device{DeviceKind::kDisk}, Device{DeviceKind::kVirtual, 0},
                              Device{DeviceKind::kVirtual, 1}};
  return devices[hash % devices.size()];
}

TEST_P(MixtureFixture, LogitsAreTransformers) {
  const Golden golden(name());
  EXPECT_LT(distance(both_prompts(*load(), golden), golden.floats("logits")), kTolerance);
}

TEST_P(MixtureFixture, EveryInstructionSetAgrees) {
  const Golden golden(name());
  for (int isa = 0; isa <= static_cast<int>(detect_isa()); ++isa) {
    const auto model = load({.isa = static_cast<Isa>(isa)});
    EXPECT_LT(distance(both_prompts(*model, golden), golden.floats("logits")), kTolerance);
  }
}

TEST_P(MixtureFixture, ChunksAgreeWithTheWhole) {
  const Golden golden(name());
  const auto model = load();
  for (const std::size_t step : {1, 5, 23}) {
    EXPECT_LT(distance(both_prompts(*model, golden, step), golden.floats("logits")), kTolerance)
        << step;
  }
  const auto short_passes = load({.max_rows = 7});
  EXPECT_LT(distance(both_prompts(*short_passes, golden), golden.floats("logits")), kTolerance);
}

TEST_P(MixtureFixture, GreedyIdsAreTransformers) {
  const Golden golden(name());
  const auto want = golden.ids("greedy_ids");
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

TEST_P(MixtureFixture, PaddedRowsAreTransformers) {
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

TEST_P(MixtureFixture, AnyNumberOfThreadsGivesTheSameBits) {
  const Golden golden(name());
  EXPECT_EQ(both_prompts(*load({.threads = 1}), golden),
            both_prompts(*load({.threads = 3}), golden));
}

TEST_P(MixtureFixture, AnyDeviceMapGivesTheSameBits) {
  const Golden golden(name());
  const auto want = both_prompts(*load(), golden);
  const testing::TempFolder cache;  // of experts that are stored [in, out]
  for (int map = 0; map < 12; ++map) {
    const auto place = [&](std::string_view path) { return some_device(path, map); };
    const auto model = load({.device_of = place, .offload_folder = cache.path()});
    ASSERT_EQ(both_prompts(*model, golden), want) << map;
  }
}

/// Those of tests/data with both configs, and those that only our own scripts write: experts in
/// MXFP4, linear layers of 8-bit floats, all experts in one tensor.
std::vector<Fixture> fixtures() {
  std::vector<Fixture> all;
  for (const char* name :
       {"mixtral", "qwen3_moe", "qwen3_moe-raw", "gpt_oss", "deepseek_v3", "deepseek_v3-yarn"}) {
    all.push_back({name});
    all.push_back({name, "config.v4.json"});
  }
  for (const char* name : {"gpt_oss-mxfp4", "deepseek_v3-fp8", "qwen3_moe-stacked"}) {
    all.push_back({name});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, MixtureFixture, ::testing::ValuesIn(fixtures()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           if (info.param.config != "config.json") name += "_v4";
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace shoehorn
