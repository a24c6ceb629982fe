// Mixtures of experts through the public headers: quantized while loading, written by quantize and
// convert, planned and inspected. The models are those of tests/data/models.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "checkpoint/checkpoint.h"
#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

fs::path model_of(const std::string& name) {
  return fs::path(SHOEHORN_TEST_DATA) / "models" / name;
}

std::vector<float> logits_of(const fs::path& model, LoadOptions options = {}) {
  LogitsRequest request;
  request.batch = 1;
  request.input_ids = {1, 5, 9, 100, 17, 33, 4, 80, 81, 82, 7};
  request.length = static_cast<std::int64_t>(request.input_ids.size());
  options.kv_dtype = "float32";
  return from_pretrained(model.string(), options).logits(request);
}

/// How far from the recorded float32 logits of both prompts, as tests/data/quantized_distances.json
/// has it of transformers and bitsandbytes: the mean |difference| over the mean |logit|, and that
/// of the median position.
struct Distance {
  double mean = 0;
  double median = 0;
};

Distance distance_from_recorded(const fs::path& folder, LoadOptions options) {
  const Checkpoint golden = open_checkpoint(folder / "logits.safetensors");
  const TensorInfo& ids = golden.at("input_ids");
  std::vector<std::int64_t> wide(static_cast<std::size_t>(ids.shape.elements()));
  golden.read(ids, std::as_writable_bytes(std::span(wide)));
  std::vector<float> want(static_cast<std::size_t>(golden.at("logits").shape.elements()));
  golden.read(golden.at("logits"), std::as_writable_bytes(std::span(want)));
  options.kv_dtype = "float32";
  const Model model = from_pretrained(folder.string(), options);
  // One prompt at a time, as recorded: LLM.int8() finds its outlier columns over the rows.
  std::vector<float> got;
  const std::size_t length = wide.size() / 2;
  for (const std::size_t prompt : {std::size_t{0}, length}) {
    LogitsRequest request;
    request.batch = 1;
    request.length = static_cast<std::int64_t>(length);
    for (std::size_t i = 0; i < length; ++i) {
      request.input_ids.push_back(static_cast<std::int32_t>(wide[prompt + i]));
    }
    const std::vector<float> row = model.logits(request);
    got.insert(got.end(), row.begin(), row.end());
  }
  EXPECT_EQ(got.size(), want.size());
  double size = 0;
  double sum = 0;
  std::vector<double> positions(wide.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - want[i]);
    positions[i * positions.size() / want.size()] += difference;
    sum += difference;
    size += std::abs(static_cast<double>(want[i]));
  }
  std::ranges::sort(positions);
  const std::size_t middle = positions.size() / 2;
  const double median = (positions[middle - 1] + positions[middle]) / 2;
  return {.mean = sum / size, .median = median * static_cast<double>(positions.size()) / size};
}

/// What transformers and bitsandbytes lose with that model.
Distance recorded_distance(const std::string& model, const char* mode) {
  std::ifstream file(fs::path(SHOEHORN_TEST_DATA) / "quantized_distances.json");
  const auto facts = nlohmann::json::parse(file).at("models").at(model).at(mode);
  return {.mean = facts.at("mean"), .median = facts.at("median")};
}

double relative_distance(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(got[i] - want[i], 2);
    size += std::pow(want[i], 2);
  }
  return std::sqrt(difference / size);
}

BitsAndBytesConfig eight_bits() {
  return {.load_in_8bit = true};
}

BitsAndBytesConfig four_bits(bool nested = false) {
  return {.load_in_4bit = true,
          .bnb_4bit_quant_type = "nf4",
          .bnb_4bit_use_double_quant = nested,
          .bnb_4bit_compute_dtype = "float32"};
}

nlohmann::json inspected(const fs::path& model, const LoadOptions& options) {
  return nlohmann::json::parse(inspect(model.string(), options).json);
}

class Mixture : public ::testing::TestWithParam<const char*> {};

TEST_P(Mixture, ExpertsAreQuantizedWhileLoadingAndCounted) {
  const fs::path model = model_of(GetParam());
  // The limits of src/model/quantized_distance_test.cc; absmax in 8 bits adds a little (its values
  // are within 1/254 of the largest of 256).
  for (const auto& [config, name, mode, most] :
       {std::tuple(eight_bits(), "int8", "int8_f32", 1.03),
        std::tuple(four_bits(), "nf4", "nf4_f32", 1.001),
        std::tuple(four_bits(true), "nf4", "nf4_f32", 1.03)}) {
    LoadOptions options{.dtype = "float32", .quantization_config = config};
    const Distance ours = distance_from_recorded(model, options);
    const Distance theirs = recorded_distance(GetParam(), mode);
    // The better of the two says what the arithmetic does where a router's choice turned.
    const double ratio = std::min(ours.mean / theirs.mean, ours.median / theirs.median);
    EXPECT_LT(ratio, most) << name;
    EXPECT_GT(ratio, 0.8) << name;
    const auto json = inspected(model, options);
    std::size_t experts = 0;
    for (const auto& [path, entry] : json["quantization"]["quantized"].items()) {
      if (path.find(".experts.") == std::string::npos ||
          path.find("shared_experts") != std::string::npos) {
        continue;
      }
      ++experts;
      EXPECT_EQ(entry["quant_type"], name) << path;
    }
    EXPECT_GT(experts, 0U);
    const auto before = inspected(model, {.dtype = "float32"});
    EXPECT_LT(json["weight_bytes"].get<double>(), before["weight_bytes"].get<double>());
    EXPECT_LT(json["footprint_bytes"].get<double>(), before["footprint_bytes"].get<double>());
  }
}

TEST_P(Mixture, QuantizedExpertsAreTheSameBitsFromDisk) {
  const fs::path model = model_of(GetParam());
  const testing::TempFolder cache;
  for (const BitsAndBytesConfig& config : {eight_bits(), four_bits(), four_bits(true)}) {
    LoadOptions options{.dtype = "float32", .quantization_config = config};
    const auto want = logits_of(model, options);
    options.device_map = "disk";
    options.offload_folder = cache.path();
    EXPECT_EQ(logits_of(model, options), want);
    EXPECT_EQ(logits_of(model, options), want);  // from the weight cache
  }
}

TEST_P(Mixture, QuantizeKeepsExpertsUnlessTheyAreAskedFor) {
  const testing::TempFolder at;
  const fs::path model = model_of(GetParam());
  QuantizeOptions options;
  options.load.dtype = "float32";
  options.load.quantization_config = four_bits();
  quantize(model.string(), at.path() / "kept", options);
  const Checkpoint kept = open_checkpoint(at.path() / "kept");
  for (const TensorInfo& info : kept.tensors()) {
    const bool routed = info.name.find("experts.") != std::string::npos &&
                        info.name.find("shared_experts") == std::string::npos;
    if (routed) {
      EXPECT_EQ(info.dtype, DType::kF32) << info.name;
    }
  }
  options.load.quantize_experts = true;
  quantize(model.string(), at.path() / "all", options);
  const LoadOptions load{
      .dtype = "float32", .quantization_config = four_bits(), .bnb_parity = "cpu"};
  EXPECT_EQ(logits_of(at.path() / "all", {.dtype = "float32", .bnb_parity = "cpu"}),
            logits_of(model, load));
}

TEST_P(Mixture, ConvertedItGivesTheSameLogits) {
  const testing::TempFolder at;
  const fs::path model = model_of(GetParam());
  convert(model.string(), at.path() / "out", {.load = {.dtype = "float32"}});
  EXPECT_EQ(logits_of(at.path() / "out"), logits_of(model, {.dtype = "float32"}));
}

INSTANTIATE_TEST_SUITE_P(All, Mixture,
                         ::testing::Values("mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3"));

TEST(QuantizedFloats, BecomePlain) {
  for (const char* name : {"gpt_oss-mxfp4", "deepseek_v3-fp8"}) {
    const testing::TempFolder at;
    const fs::path model = model_of(name);
    const ConvertReport report =
        convert(model.string(), at.path() / "out", {.load = {.dtype = "float32"}});
    EXPECT_GT(report.dequantized, 0U);
    EXPECT_LT(relative_distance(logits_of(at.path() / "out"), logits_of(model)), 1e-5) << name;
    EXPECT_EQ(inspected(at.path() / "out", {})["quantization"], nullptr);
  }
}

TEST(QuantizedFloats, StaySmallInMemory) {
  const auto bytes = [](const char* name) {
    return inspected(model_of(name), {})["weight_bytes"].get<double>();
  };
  const testing::TempFolder at;
  for (const char* name : {"gpt_oss-mxfp4", "deepseek_v3-fp8"}) {
    const fs::path out = at.path() / name;
    convert(model_of(name).string(), out, {.load = {.dtype = "float32"}});
    EXPECT_LT(bytes(name), 0.8 * inspected(out, {})["weight_bytes"].get<double>()) << name;
  }
}

TEST(MixtureFiles, AMissingExpertIsNamed) {
  const testing::TempFolder at;
  const fs::path folder = at.path() / "model";
  fs::copy(model_of("mixtral"), folder);
  std::string bytes;
  {
    std::ifstream file(folder / "model.safetensors", std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  const std::string name = "model.layers.1.block_sparse_moe.experts.2.w3.weight";
  const std::size_t at_name = bytes.find(name);
  ASSERT_NE(at_name, std::string::npos);
  bytes[at_name + name.size() - 1] = 'x';
  fs::permissions(folder / "model.safetensors", fs::perms::owner_all);
  std::ofstream(folder / "model.safetensors", std::ios::binary) << bytes;
  EXPECT_THAT(testing::message_of<FormatError>([&] { from_pretrained(folder.string()); }),
              HasSubstr("1 missing:\n    " + name + " [48, 64]"));
}

}  // namespace
}  // namespace shoehorn
