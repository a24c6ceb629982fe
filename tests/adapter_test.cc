// LoRA adapters with whole models, held against PEFT (tests/parity/record_adapters.py).

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/shoehorn.h"

#include "adapter_golden.h"
#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

using ::testing::HasSubstr;

constexpr double kTolerance = 5e-5;  // float32 in another order of summation

TEST(Adapter, GivesTheLogitsOfPeft) {
  for (const char* name : {"list", "patterns", "biases", "lora-bias", "head", "old-bin"}) {
    EXPECT_LT(distance(logits(kBase, {adapter(name)}), recorded(name).logits), kTolerance) << name;
  }
}

TEST(Adapter, SeveralAddUpAndScale) {
  EXPECT_LT(distance(logits(kBase, {adapter("list"), adapter("patterns")}),
                     recorded("list+patterns").logits),
            kTolerance);
  EXPECT_LT(distance(logits(kBase, {adapter("list", 0.5)}), recorded("list=0.5").logits),
            kTolerance);
  EXPECT_EQ(logits(kBase, {adapter("list", 0)}), logits(kBase, {}));
}

TEST(Adapter, GivesTheSameBitsOnAnyDeviceMap) {
  setenv("SHOEHORN_VIRTUAL_DEVICES", "2x64MiB", 1);
  const std::vector<float> expected = logits(kBase, {adapter("list"), adapter("patterns")});
  for (const std::string map :
       {R"({"": "disk"})", R"({"": "virtual:0"})",
        R"({"model.embed_tokens": "cpu", "model.layers.0": "virtual:1", "model.layers.1": "disk",
            "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"})",
        R"({"": "cpu", "model.layers.0.mlp": "virtual:0", "model.layers.1.self_attn": "disk"})"}) {
    EXPECT_EQ(logits(kBase, {adapter("list"), adapter("patterns")}, {.device_map = map}), expected)
        << map;
  }
  unsetenv("SHOEHORN_VIRTUAL_DEVICES");
}

TEST(Adapter, LeavesQuantizedWeightsAsTheyAre) {
  EXPECT_LT(distance_beside_nf4("cpu"), 1e-4);
}

TEST(Adapter, IsMergedByConvert) {
  const testing::TempFolder at;
  for (const char* name : {"list", "patterns", "biases", "head"}) {
    LoadOptions load;
    load.adapters = {adapter(name)};
    convert(kBase, at.path() / name, {.load = load});
    EXPECT_LT(distance(logits((at.path() / name).string(), {}), recorded(name).logits), kTolerance)
        << name;
  }
}

template <typename ErrorType>
std::string message(const std::vector<AdapterOptions>& adapters, const std::string& base = kBase) {
  return testing::message_of<ErrorType>([&] { logits(base, adapters); });
}

TEST(Adapter, OfAnotherModelIsRefused) {
  EXPECT_THAT(message<FormatError>({adapter("list")}, (kData / "tiny-llama").string()),
              HasSubstr("the model's weight is [64, 160], the adapter's lora_A [4, 96]"));
}

TEST(Adapter, TwoThatReplaceOneTensorAreRefused) {
  EXPECT_THAT(message<ArgumentError>({adapter("head"), adapter("head")}),
              HasSubstr("as another adapter does"));
}

TEST(Adapter, AFolderWithoutOneIsRefused) {
  const testing::TempFolder at;
  EXPECT_THAT(message<FileError>({{.path = at.path()}}),
              HasSubstr("neither adapter_model.safetensors nor adapter_model.bin"));
}

TEST(Adapter, QuantizeRefusesIt) {
  const testing::TempFolder at;
  QuantizeOptions options;
  options.load.quantization_config = BitsAndBytesConfig{.load_in_4bit = true};
  options.load.adapters = {adapter("list")};
  EXPECT_THAT(
      testing::message_of<ArgumentError>([&] { quantize(kBase, at.path() / "out", options); }),
      HasSubstr("convert"));
}

}  // namespace
}  // namespace shoehorn
