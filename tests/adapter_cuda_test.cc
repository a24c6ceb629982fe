// LoRA adapters beside weights of CUDA devices. Skipped out loud where there is no card.
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "adapter_golden.h"
#include "cuda/card.h"

namespace shoehorn {
namespace {

class AdapterOnCards : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::find_cards().cards.empty()) GTEST_SKIP() << cuda::find_cards().why_none;
    setenv("SHOEHORN_LOGICAL_GPUS", "2x1GiB", 1);
  }
  void TearDown() override { unsetenv("SHOEHORN_LOGICAL_GPUS"); }
};

LoadOptions on(const std::string& map) {
  return {.device_map = map, .dtype = "float32", .kv_dtype = "float32"};
}

constexpr double kTolerance = 1e-4;

TEST_F(AdapterOnCards, GivesTheLogitsOfPeft) {
  for (const char* name : {"list", "patterns", "biases", "lora-bias", "head", "old-bin"}) {
    EXPECT_LT(distance(logits(kBase, {adapter(name)}, on("cuda:0")), recorded(name).logits),
              kTolerance)
        << name;
  }
}

TEST_F(AdapterOnCards, SeveralAddUpAndScale) {
  EXPECT_LT(distance(logits(kBase, {adapter("list"), adapter("patterns")}, on("cuda:0")),
                     recorded("list+patterns").logits),
            kTolerance);
  EXPECT_LT(
      distance(logits(kBase, {adapter("list", 0.5)}, on("cuda:0")), recorded("list=0.5").logits),
      kTolerance);
}

TEST_F(AdapterOnCards, AreAddedWhereverTheWeightsAre) {
  const auto want = recorded("list+patterns").logits;
  for (const std::string map :
       {R"({"model.embed_tokens": "cpu", "model.layers.0": "cuda:1", "model.layers.1": "cuda:0",
            "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"})",
        R"({"": "cuda:0", "model.layers.0.mlp": "cpu", "model.layers.1.self_attn": "disk"})",
        R"({"": "disk", "model.layers.0": "cuda:0"})",
        R"({"": "cpu", "model.layers.0.mlp": "cuda:1", "model.layers.1.self_attn": "cuda:0"})"}) {
    EXPECT_LT(distance(logits(kBase, {adapter("list"), adapter("patterns")}, on(map)), want),
              kTolerance)
        << map;
  }
}

// From the third token on passes come from recordings.
TEST_F(AdapterOnCards, GenerateWhatTheProcessorDoes) {
  const std::vector<std::int32_t> ids = {3, 5, 7};
  const auto generated = [&](LoadOptions options) {
    options.adapters = {adapter("list"), adapter("patterns", 2)};
    const Model model = from_pretrained(kBase, options);
    Generation generation = model.generate(ids, {.max_new_tokens = 12, .ignore_eos = true});
    for (std::string piece; generation.next(piece);) {
    }
    return generation.ids();
  };
  EXPECT_EQ(generated(on("cuda:0")), generated(on("cpu")));
}

TEST_F(AdapterOnCards, LeaveQuantizedWeightsAsTheyAre) {
  EXPECT_LT(distance_beside_nf4("cuda:0"), 2e-4);
}

TEST_F(AdapterOnCards, CountInThePlan) {
  const auto workspace = [](LoadOptions options) {
    return nlohmann::json::parse(plan(kBase, options).json)["workspace_bytes"].get<std::size_t>();
  };
  LoadOptions with = on("cuda:0");
  with.adapters = {adapter("list")};
  EXPECT_GT(workspace(with), workspace(on("cuda:0")));
}

}  // namespace
}  // namespace shoehorn
