// A config.json without weights, as a user meets it: what the model would need and where it would
// go. The configs are those of full-size models, with what transformers and accelerate say of them
// on the meta device (tests/data/full_size_trees.json).

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "api/prepare.h"
#include "model/architecture.h"
#include "plan/planner_shoehorn.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

const Json& recorded() {
  static const Json facts = [] {
    std::ifstream file(fs::path(SHOEHORN_TEST_DATA) / "full_size_trees.json");
    return Json::parse(file);
  }();
  return facts.at("models");
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& [name, facts] : recorded().items()) all.push_back(name);
  return all;
}

class ConfigAlone : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string pattern = (fs::path(::testing::TempDir()) / "shoehorn-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    std::ofstream(folder_ / "config.json") << facts().at("config").dump();
  }
  void TearDown() override { fs::remove_all(folder_); }

  const Json& facts() const { return recorded().at(GetParam()); }
  /// Notes go to notes_.
  LoadOptions options() {
    return {.max_memory = {{"cpu", "60GiB"}},
            .max_context = 512,
            .on_note = [this](const std::string& note) { notes_.push_back(note); }};
  }

  fs::path folder_;
  std::vector<std::string> notes_;
};

TEST_P(ConfigAlone, IsInspectedAsOnTheMetaDevice) {
  for (const fs::path& model : {folder_, folder_ / "config.json"}) {
    notes_.clear();
    const Json report = Json::parse(inspect(model.string(), options()).json);
    EXPECT_EQ(report.at("parameters"), facts().at("parameters"));
    EXPECT_EQ(report.at("footprint_bytes"), facts().at("footprint_bytes"));
    EXPECT_THAT(notes_, ElementsAre(HasSubstr("has no weights: sizes are what config.json says")));
  }
}

TEST_P(ConfigAlone, IsPlanned) {
  const PlanReport report = plan(folder_.string(), options());
  const Json json = Json::parse(report.json);
  double placed = 0;
  for (const auto& [device, bytes] : json.at("bytes").items()) placed += bytes.get<double>();
  EXPECT_GE(placed, 0.99 * facts().at("footprint_bytes").get<double>());
}

TEST_P(ConfigAlone, IsNoModelToRun) {
  try {
    from_pretrained(folder_.string(), options());
    FAIL() << "it was loaded";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("has no weights"));
  }
}

// The bound is 5 ms for the two together in a release build; this one leaves room for sanitizers
// and a busy machine.
TEST_P(ConfigAlone, IsPlannedQuickly) {
  LoadOptions synthetic = options();
  synthetic.synthetic = true;
  const auto prepared =
      prepare_model((folder_ / "config.json").string(), synthetic, "", /*measure=*/false);
  using Clock = std::chrono::steady_clock;
  const auto ms = [](Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  };
  double tree_ms = 1e9;
  double plan_ms = 1e9;
  for (int i = 0; i < 9; ++i) {
    const Clock::time_point start = Clock::now();
    EXPECT_FALSE(prepared->opened.architecture->module_tree(DType::kBF16).root.children.empty());
    tree_ms = std::min(tree_ms, ms(start));
    const Clock::time_point built = Clock::now();
    EXPECT_GT(plan_shoehorn(prepared->plan_input).footprint_bytes, 0U);
    plan_ms = std::min(plan_ms, ms(built));
  }
  std::printf("%s: module tree in %.2f ms, planned in %.2f ms\n", GetParam().c_str(), tree_ms,
              plan_ms);
  EXPECT_LT(tree_ms + plan_ms, 250);
}

INSTANTIATE_TEST_SUITE_P(All, ConfigAlone, ::testing::ValuesIn(names()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace_if(
      name, [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
});

}  // namespace
}  // namespace shoehorn
