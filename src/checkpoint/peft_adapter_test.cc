#include "checkpoint/peft_adapter.h"

#include <cmath>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::safetensors_file;
using testing::TempFolder;

PeftConfig parse(const std::string& text) {
  return parse_peft_config(text, "adapter_config.json");
}

PeftScale scale_of(const std::string& text, std::string_view module) {
  return peft_scale(parse(text), module, "adapter_config.json");
}

TEST(PeftConfig, ScalesByAlphaOverRank) {
  const PeftScale scale = scale_of(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 6})", "a.q_proj");
  EXPECT_EQ(scale.rank, 4);
  EXPECT_EQ(scale.scale, 1.5);
}

TEST(PeftConfig, DefaultsAreThoseOfPeft) {
  const PeftScale scale = scale_of(R"({"peft_type": "LORA", "r": null})", "a.q_proj");
  EXPECT_EQ(scale.rank, 8);
  EXPECT_EQ(scale.scale, 1);
}

TEST(PeftConfig, RsloraScalesByTheRootOfTheRank) {
  EXPECT_EQ(
      scale_of(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 6, "use_rslora": true})", "q").scale,
      3);
}

TEST(PeftConfig, TheFirstPatternThatMatchesTheEndOfANameCounts) {
  const std::string text =
      R"({"peft_type": "LORA", "r": 4, "lora_alpha": 4,
          "rank_pattern": {"layers\\.0\\..*": 2, "q_proj": 8}, "alpha_pattern": {"q_proj": 16}})";
  EXPECT_EQ(scale_of(text, "model.layers.0.q_proj").rank, 2);
  EXPECT_EQ(scale_of(text, "model.layers.1.q_proj").rank, 8);
  EXPECT_EQ(scale_of(text, "model.layers.1.q_proj").scale, 2);
  EXPECT_EQ(scale_of(text, "model.layers.1.big_q_proj").rank, 4);  // a part of a name is no end
  EXPECT_EQ(scale_of(text, "model.layers.1.q_proj_a").rank, 4);
}

TEST(PeftConfig, OtherKindsAreRefusedByName) {
  EXPECT_THAT(message_of<UnsupportedError>([] { parse(R"({"peft_type": "LOHA"})"); }),
              HasSubstr("peft_type is \"LOHA\""));
  EXPECT_THAT(
      message_of<UnsupportedError>([] { parse(R"({"peft_type": "LORA", "use_dora": true})"); }),
      HasSubstr("use_dora asks for DoRA"));
  EXPECT_THAT(message_of<UnsupportedError>([] {
                parse(R"({"peft_type": "LORA", "target_parameters": ["mlp.experts.gate"]})");
              }),
              HasSubstr("target_parameters"));
}

TEST(PeftConfig, ValuesThatMakeNoSenseAreRefusedByKey) {
  const auto complaint = [](const std::string& members) {
    return message_of<FormatError>([&] { parse(R"({"peft_type": "LORA", )" + members + "}"); });
  };
  EXPECT_THAT(complaint(R"("r": 0)"), HasSubstr("r: expected a rank"));
  EXPECT_THAT(complaint(R"("r": -1)"), HasSubstr("r: expected a rank"));
  EXPECT_THAT(complaint(R"("lora_alpha": "8")"), HasSubstr("lora_alpha: expected a finite number"));
  EXPECT_THAT(complaint(R"("rank_pattern": [1])"), HasSubstr("rank_pattern: expected an object"));
  EXPECT_THAT(complaint(R"("alpha_pattern": {"a": true})"), HasSubstr("alpha_pattern"));
}

TEST(PeftConfig, APatternThatIsNoExpressionIsRefused) {
  EXPECT_THAT(message_of<FormatError>(
                  [] { scale_of(R"({"peft_type": "LORA", "rank_pattern": {"(": 2}})", "q_proj"); }),
              HasSubstr("rank_pattern or alpha_pattern"));
}

/// An adapter with these tensors, all float32.
class Folder {
 public:
  explicit Folder(const std::string& config = R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4})") {
    folder_.write("adapter_config.json", config);
  }
  Folder& add(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const std::size_t bytes = static_cast<std::size_t>(rows * columns) * sizeof(float);
    if (!json_.empty()) json_ += ", ";
    json_ += "\"" + name + R"(": {"dtype": "F32", "shape": [)" + std::to_string(rows) + ", " +
             std::to_string(columns) + R"(], "data_offsets": [)" + std::to_string(end_) + ", " +
             std::to_string(end_ + bytes) + "]}";
    end_ += bytes;
    return *this;
  }
  PeftAdapter open() const {
    folder_.write("adapter_model.safetensors", safetensors_file("{" + json_ + "}", end_));
    return PeftAdapter(folder_.path());
  }

 private:
  TempFolder folder_;
  std::string json_;
  std::size_t end_ = 0;
};

const std::string kQ = "base_model.model.model.layers.0.self_attn.q_proj.";

TEST(PeftAdapter, FindsUpdatesAndReplacements) {
  Folder folder;
  folder.add(kQ + "lora_A.weight", 2, 8).add(kQ + "lora_B.weight", 6, 2);
  folder.add("base_model.model.lm_head.weight", 9, 8);
  folder.add("base_model.model.model.embed_tokens.base_layer.weight", 9, 8);
  const PeftAdapter adapter = folder.open();
  ASSERT_EQ(adapter.updates().size(), 1U);
  EXPECT_EQ(adapter.updates()[0].module, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(adapter.updates()[0].scale.scale, 2);
  ASSERT_EQ(adapter.replacements().size(), 2U);
  EXPECT_EQ(adapter.replacements()[0].first, "lm_head.weight");
  EXPECT_EQ(adapter.replacements()[1].first, "model.embed_tokens.weight");
}

TEST(PeftAdapter, AnUpdateNeedsBothHalves) {
  Folder folder;
  folder.add(kQ + "lora_A.weight", 2, 8);
  EXPECT_THAT(message_of<FormatError>([&] { folder.open(); }),
              HasSubstr("q_proj: there is a lora_A without its lora_B"));
}

TEST(PeftAdapter, RanksAgreeWithTheConfig) {
  Folder folder;
  folder.add(kQ + "lora_A.weight", 3, 8).add(kQ + "lora_B.weight", 6, 3);
  EXPECT_THAT(message_of<FormatError>([&] { folder.open(); }),
              HasSubstr("adapter_config.json gives it rank 2, but lora_A is [3, 8]"));
}

TEST(PeftAdapter, NamesThatAreNotPeftsAreRefused) {
  Folder folder;
  folder.add("q_proj.lora_A.weight", 2, 8);
  EXPECT_THAT(message_of<FormatError>([&] { folder.open(); }), HasSubstr("base_model.model."));
}

TEST(PeftAdapter, UpdatesOfEmbeddingsAreRefusedByName) {
  Folder folder;
  folder.add("base_model.model.model.embed_tokens.lora_embedding_A", 2, 8);
  EXPECT_THAT(message_of<UnsupportedError>([&] { folder.open(); }),
              HasSubstr("lora_embedding_A: shoehorn applies LoRA to linear layers alone"));
}

}  // namespace
}  // namespace shoehorn
