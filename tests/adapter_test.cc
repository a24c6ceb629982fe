// LoRA adapters with whole models, held against PEFT (tests/parity/record_adapters.py).

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/shoehorn.h"

#include "checkpoint/checkpoint.h"
#include "checkpoint/testing_files.h"
#include "quantized_golden.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kData = SHOEHORN_TEST_DATA;
const fs::path kAdapters = kData / "adapters";
const std::string kBase = (kData / "models" / "llama-tied-bias").string();

struct Recorded {
  std::vector<std::int32_t> ids;
  std::vector<float> logits;
};

Recorded recorded(const std::string& name) {
  const Checkpoint file = open_checkpoint(kAdapters / "goldens.safetensors");
  Recorded result;
  std::vector<std::int64_t> ids(static_cast<std::size_t>(file.at("input_ids").shape.elements()));
  file.read(file.at("input_ids"), std::as_writable_bytes(std::span(ids)));
  result.ids.assign(ids.begin(), ids.end());
  result.logits.resize(static_cast<std::size_t>(file.at(name).shape.elements()));
  file.read(file.at(name), std::as_writable_bytes(std::span(result.logits)));
  return result;
}

AdapterOptions adapter(const std::string& name, double scale = 1) {
  return {.path = kAdapters / name, .scale = scale};
}

std::vector<float> logits(const std::string& base, const std::vector<AdapterOptions>& adapters,
                          LoadOptions options = {.device_map = "cpu"}) {
  options.adapters = adapters;
  const std::vector<std::int32_t> ids = recorded("base").ids;
  LogitsRequest request;
  request.batch = 1;
  request.length = static_cast<std::int64_t>(ids.size());
  request.input_ids = ids;
  return from_pretrained(base, options).logits(request);
}

/// The largest difference, relative to the largest recorded logit.
double distance(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double difference = 0;
  double largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(got[i]) - want[i]));
    largest = std::max(largest, std::abs(static_cast<double>(want[i])));
  }
  return difference / largest;
}

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
  const fs::path lora = kData / "quantized" / "bnb-tiny-nf4-dq-lora";
  const Checkpoint file = open_checkpoint(lora / "logits.safetensors");
  LoadOptions options;
  options.device_map = "cpu";
  options.dtype = "float32";
  options.kv_dtype = "float32";
  options.adapters = {{.path = lora}};
  BitsAndBytesConfig compute;
  compute.bnb_4bit_compute_dtype = "float32";
  options.quantization_config = compute;
  const Model model = from_pretrained(model_path("bnb-tiny-nf4-dq"), options);
  const TensorInfo& ids = file.at("input_ids");
  std::vector<std::int64_t> wide(static_cast<std::size_t>(ids.shape.elements()));
  file.read(ids, std::as_writable_bytes(std::span(wide)));
  LogitsRequest request;
  request.batch = ids.shape[0];
  request.length = ids.shape[1];
  request.input_ids.assign(wide.begin(), wide.end());
  std::vector<float> want(static_cast<std::size_t>(file.at("logits_f32").shape.elements()));
  file.read(file.at("logits_f32"), std::as_writable_bytes(std::span(want)));
  EXPECT_LT(distance(model.logits(request), want), 1e-4);
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
