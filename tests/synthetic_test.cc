// Models without files, as a user meets them: LoadOptions::synthetic.

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string kShape = std::string(SHOEHORN_TEST_DATA) + "/tiny-llama";

std::vector<float> logits(const LoadOptions& options) {
  const Model model = from_pretrained(kShape, options);
  Session session = model.new_session(16);
  const std::vector<std::int32_t> prompt = {5, 9, 200, 31, 7};
  std::vector<float> result = session.forward_all(prompt);
  const std::vector<std::int32_t> next = {12};
  const auto last = session.forward(next);
  result.insert(result.end(), last.begin(), last.end());
  return result;
}

/// Two virtual devices and an empty weight cache, while it lives.
class Synthetic : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("SHOEHORN_VIRTUAL_DEVICES", "2x64MiB", 1);
    std::string pattern = (fs::path(::testing::TempDir()) / "shoehorn-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    cache_ = pattern;
  }
  void TearDown() override {
    unsetenv("SHOEHORN_VIRTUAL_DEVICES");
    fs::remove_all(cache_);
  }

  LoadOptions options(const std::string& map) const {
    return {.device_map = map, .offload_folder = cache_, .max_context = 64, .synthetic = true};
  }

  fs::path cache_;
};

const char* const kMixedMap =
    R"({"model.embed_tokens": "disk", "model.layers.0": 0, "model.layers.1": "disk",
        "model.layers.2": "cpu", "model.layers.3": 1, "model.layers.4": "disk",
        "model.layers.5": 0, "model.norm": 1, "model.rotary_emb": 1, "lm_head": "disk"})";

TEST_F(Synthetic, AnyMapGivesTheSameBits) {
  const std::vector<float> want = logits(options("cpu"));
  EXPECT_EQ(logits(options("disk")), want);
  EXPECT_EQ(logits(options(kMixedMap)), want);
}

TEST_F(Synthetic, AnyMapGivesTheSameBitsQuantized) {
  for (const bool four_bit : {false, true}) {
    const auto quantized = [&](const std::string& map) {
      LoadOptions result = options(map);
      result.quantization_config =
          BitsAndBytesConfig{.load_in_8bit = !four_bit, .load_in_4bit = four_bit};
      return result;
    };
    const std::vector<float> want = logits(quantized("cpu"));
    EXPECT_EQ(logits(quantized(kMixedMap)), want);
  }
}

TEST_F(Synthetic, TheWeightCacheTellsSeedsApart) {
  LoadOptions first = options("disk");
  first.quantization_config = BitsAndBytesConfig{.load_in_4bit = true};
  LoadOptions second = first;
  second.synthetic_seed = 1;
  const std::vector<float> want = logits(first);
  EXPECT_NE(logits(second), want);
  EXPECT_EQ(logits(first), want);
}

TEST_F(Synthetic, LogitsAreAFewUnitsWide) {
  double squares = 0;
  const std::vector<float> values = logits(options("cpu"));
  for (const float value : values) squares += static_cast<double>(value) * value;
  const double deviation = std::sqrt(squares / static_cast<double>(values.size()));
  EXPECT_GT(deviation, 1);
  EXPECT_LT(deviation, 10);
}

TEST_F(Synthetic, PlansAndInspectsLargeShapesWithoutFiles) {
  const PlanReport report = plan("llama-3-70b", {.max_context = 64, .synthetic = true},
                                 {.assume = "0=80GiB@3TB/s,cpu=120GiB@50GB/s,link=50GB/s"});
  EXPECT_GT(nlohmann::json::parse(report.json)["footprint_bytes"].get<double>(), 141e9);
  const auto json = nlohmann::json::parse(inspect("llama-30b", {.synthetic = true}).json);
  EXPECT_EQ(json["parameters"].get<std::int64_t>(), 32528943616);
}

TEST_F(Synthetic, RefusesAnotherConfig) {
  LoadOptions both = options("cpu");
  both.config = kShape + "/config.json";
  EXPECT_THROW(from_pretrained(kShape, both), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
