#include "model/synthetic_checkpoint.h"

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"
#include "kernels/decode_row.h"
#include "model/synthetic_shapes.h"
#include "model/testing_model.h"
#include "model/weight_plan.h"

namespace shoehorn {
namespace {

using ::testing::HasSubstr;

std::int64_t parameters(const Checkpoint& checkpoint) {
  std::int64_t count = 0;
  for (const TensorInfo& info : checkpoint.tensors()) count += info.shape.elements();
  return count;
}

TEST(SyntheticCheckpoint, HasAsManyParametersAsThePublishedModels) {
  // From the models' safetensors indices on the hub (llama-30b: its paper's 32.5 B).
  EXPECT_EQ(parameters(synthetic_checkpoint("smollm2-135m", 0)), 134515008);
  EXPECT_EQ(parameters(synthetic_checkpoint("llama-1.1b", 0)), 1100048384);
  EXPECT_EQ(parameters(synthetic_checkpoint("llama-2-7b", 0)), 6738415616);
  EXPECT_EQ(parameters(synthetic_checkpoint("llama-13b", 0)), 13015864320);
  EXPECT_EQ(parameters(synthetic_checkpoint("llama-30b", 0)), 32528943616);
  EXPECT_EQ(parameters(synthetic_checkpoint("llama-3-8b", 0)), 8030261248);
  EXPECT_EQ(parameters(synthetic_checkpoint("llama-3-70b", 0)), 70553706496);
}

TEST(SyntheticCheckpoint, FitsItsArchitecture) {
  const Checkpoint checkpoint = synthetic_checkpoint("smollm2-135m", 0);
  const auto architecture = make_architecture(Config::parse(checkpoint.config_json(), "config"));
  const ResolvedModel model = resolve_model(*architecture, checkpoint, {.strict = true});
  EXPECT_EQ(model.dtype, DType::kBF16);
  EXPECT_TRUE(model.notes.empty());
}

TEST(SyntheticCheckpoint, TakesAConfigAndItsType) {
  const Checkpoint checkpoint = synthetic_checkpoint(testing::model_folder("llama").string(), 0);
  const Checkpoint file = open_checkpoint(testing::model_folder("llama"));
  for (const TensorInfo& info : file.tensors()) {
    EXPECT_EQ(checkpoint.at(info.name).shape, info.shape) << info.name;
    EXPECT_EQ(checkpoint.at(info.name).dtype, info.dtype) << info.name;
  }
  EXPECT_EQ(checkpoint.tensors().size(), file.tensors().size());
}

TEST(SyntheticCheckpoint, NamesTheShapesThatThereAre) {
  try {
    synthetic_checkpoint("llama-9b", 0);
    FAIL() << "no error";
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("llama-3-8b"));
  }
}

TEST(SyntheticCheckpoint, RefusesAConfigWithoutEnd) {
  const testing::TempFolder folder;
  const auto refused = [&](const std::string& keys) {
    const auto path =
        folder.write("config.json", R"({"model_type": "llama", "vocab_size": 8, )" + keys + "}");
    try {
      synthetic_checkpoint(path.string(), 0);
    } catch (const FormatError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string rest = R"("hidden_size": 8, "num_attention_heads": 2, )";
  EXPECT_THAT(refused(rest + R"("intermediate_size": 8, "num_hidden_layers": 2147483647)"),
              HasSubstr("num_hidden_layers"));
  const std::string wide = R"("hidden_size": 2147483647, "num_hidden_layers": 1, )";
  EXPECT_THAT(refused(wide + R"("num_attention_heads": 2147483647, "head_dim": 128,
                                "intermediate_size": 8)"),
              HasSubstr("more than 1125899906842624 bytes"));
  EXPECT_THAT(refused(wide + R"("num_attention_heads": 2, "head_dim": 2147483646,
                                "intermediate_size": 8)"),
              HasSubstr("head_dim"));
  EXPECT_THAT(refused(wide + R"("num_attention_heads": 2, "head_dim": 2,
                                "intermediate_size": 2147483647)"),
              HasSubstr("more than 1125899906842624 bytes"));
  EXPECT_THAT(refused(rest + R"("intermediate_size": 8, "num_hidden_layers": 1,
                                "torch_dtype": "int8")"),
              HasSubstr("torch_dtype"));
}

TEST(SyntheticCheckpoint, WeightsThatMeetALiftedFeatureAreSmall) {
  const Checkpoint checkpoint = synthetic_checkpoint("smollm2-135m", 0);
  const TensorInfo& norm = checkpoint.at("model.layers.3.input_layernorm.weight");
  const TensorInfo& query = checkpoint.at("model.layers.3.self_attn.q_proj.weight");
  std::vector<std::byte> bytes(query.bytes);
  std::vector<float> scale(576);
  std::vector<float> rows(576 * 576);
  checkpoint.read(norm, std::span(bytes).first(norm.bytes));
  decode_row(norm.dtype, bytes.data(), 576, scale.data(), Isa::kRef);
  checkpoint.read(query, bytes);
  decode_row(query.dtype, bytes.data(), 576 * 576, rows.data(), Isa::kRef);
  int lifted = 0;
  for (std::size_t column = 0; column < 576; ++column) {
    double squares = 0;
    for (std::size_t row = 0; row < 576; ++row) squares += std::pow(rows[row * 576 + column], 2);
    const bool is_lifted = scale[column] > 6;
    lifted += is_lifted ? 1 : 0;
    EXPECT_NEAR(std::sqrt(squares), is_lifted ? 1.0 / 16 : 1.0, is_lifted ? 0.02 : 0.25) << column;
  }
  EXPECT_EQ(lifted, 6);
}

}  // namespace
}  // namespace shoehorn
