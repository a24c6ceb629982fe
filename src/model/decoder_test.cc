// What single decoders owe beyond the logits of the fixtures.
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "model/architecture.h"
#include "model/rope.h"
#include "model/testing_golden.h"
#include "model/testing_model.h"

namespace shoehorn {
namespace {

using testing::both_prompts;
using testing::Golden;

TEST(RotaryEmbedding, AnOddNumberOfEntriesTurnsOneMore) {
  const RotaryEmbedding rotary({.rope_theta = 32}, 5);
  EXPECT_EQ(rotary.rotary_dim(), 6);
  RopeState state;
  const auto frequencies = rotary.frequencies(1, state);
  ASSERT_EQ(frequencies.size(), 3U);
  EXPECT_FLOAT_EQ(frequencies[0], 1);
  EXPECT_FLOAT_EQ(frequencies[1], 0.25);  // 32^(-2/5)
  EXPECT_FLOAT_EQ(frequencies[2], 0.0625);
}

TEST(RotaryEmbedding, OnlyWhereTheArchitectureCutsHeadsSoMayItsPartBeOdd) {
  const auto made = [](const std::string& type, double part) {
    const std::string text =
        R"({"model_type": ")" + type + R"(", "vocab_size": 32, "hidden_size": 40,
            "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4,
            "intermediate_size": 16, "max_position_embeddings": 64, "head_dim": 10,
            "rotary_pct": )" +
        std::to_string(part) + R"(, "partial_rotary_factor": )" + std::to_string(part) + "}";
    make_architecture(Config::parse(text, "config.json"));
  };
  for (const char* type : {"gpt_neox", "phi3", "glm4"}) EXPECT_NO_THROW(made(type, 0.5)) << type;
  for (const char* type : {"phi", "stablelm"}) EXPECT_THROW(made(type, 0.5), FormatError) << type;
}

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
