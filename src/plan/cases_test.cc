#include "plan/cases.h"

#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

using Json = nlohmann::json;

std::string golden_text() {
  std::ifstream file(SHOEHORN_TEST_DATA "/device-map-cases.json");
  return {std::istreambuf_iterator<char>(file), {}};
}

// Recorded from accelerate 1.15.0 and transformers 5.23.0.
const Json& golden_cases() {
  static const Json json = Json::parse(golden_text())["cases"];
  return json;
}

class GoldenCase : public testing::TestWithParam<int> {
 protected:
  static const Json& results() {
    static const Json json = Json::parse(plan_cases_json(golden_text()));
    return json;
  }
};

TEST_P(GoldenCase, EqualsTheRecordedAnswer) {
  const auto i = static_cast<std::size_t>(GetParam());
  const Json& expect = golden_cases()[i]["expect"];
  Json ours = results().at(i);
  SCOPED_TRACE(ours["name"].get<std::string>() + "\n" + ours.dump(1));
  ASSERT_EQ(ours["name"], golden_cases()[i]["name"]);
  // Our map covers what the reference leaves without a device; that is the only difference.
  if (expect.contains("uncovered")) {
    for (const auto& path : expect["uncovered"]) ours["map"].erase(path.get<std::string>());
  }
  for (const auto& [field, value] : expect.items()) {
    ASSERT_TRUE(ours.contains(field)) << field;
    if (field == "error") {
      EXPECT_EQ(ours["error"]["type"], value["type"]);
      EXPECT_EQ(ours["error"]["kind"], value["kind"]);
      EXPECT_FALSE(ours["error"]["message"].get<std::string>().empty());
      EXPECT_EQ(ours["error"].value("uncovered", Json()), value.value("uncovered", Json()));
    } else {
      EXPECT_EQ(ours[field], value) << field;
    }
  }
  for (const char* absent : {"error", "uncovered", "warn_unknown_keys"}) {
    EXPECT_EQ(ours.contains(absent), expect.contains(absent)) << absent;
  }
}

INSTANTIATE_TEST_SUITE_P(PlanCasesJson, GoldenCase, testing::Range(0, 124));

TEST(PlanCasesJson, TheRecordedFileHas124Cases) {
  EXPECT_EQ(golden_cases().size(), 124U);
}

// The same cases for the default planner: each has a valid plan, also those that crash a library.
class DefaultPlannerCase : public testing::TestWithParam<int> {};

/// Every tensor of a tree node as (path, bytes), sizes as torch stores them.
void list_tensors(const Json& node, const std::string& prefix, std::map<std::string, double>& out) {
  static const std::map<std::string, double> kBytes = {
      {"int8", 1}, {"bool", 1}, {"float16", 2}, {"bfloat16", 2}, {"float32", 4}, {"int64", 8}};
  for (const char* kind : {"params", "buffers"}) {
    for (const Json& tensor : node.value(kind, Json::array())) {
      double bytes = kBytes.at(tensor[2]);
      for (const Json& dim : tensor[1]) bytes *= dim.get<double>();
      out[prefix + tensor[0].get<std::string>()] = bytes;
    }
  }
  for (const Json& child : node.value("children", Json::array())) {
    list_tensors(child[1], prefix + child[0].get<std::string>() + ".", out);
  }
}

Json device_in(const Json& map, std::string path) {
  while (true) {
    if (map.contains(path)) return map[path];
    if (path.empty()) return nullptr;
    const std::size_t dot = path.rfind('.');
    path = dot == std::string::npos ? "" : path.substr(0, dot);
  }
}

TEST_P(DefaultPlannerCase, IsValid) {
  Json c = golden_cases()[static_cast<std::size_t>(GetParam())];
  SCOPED_TRACE(c["name"].get<std::string>());
  c["flavour"] = "shoehorn";
  c["dtype"] = nullptr;  // so that sizes are those of the tree
  c.erase("special_dtypes");
  c.erase("quant");
  const Json result = Json::parse(plan_cases_json(c.dump()))[0];
  if (c["name"] == "seq/negative-gpu-id-is-a-device") {
    EXPECT_THAT(result["error"]["message"].get<std::string>(), testing::HasSubstr("-1"));
    return;
  }
  ASSERT_TRUE(result.contains("map")) << result.dump();
  std::map<std::string, double> tensors;
  list_tensors(c["tree"], "", tensors);
  for (const Json& tie : c["tree"].value("ties", Json::array())) {
    EXPECT_EQ(device_in(result["map"], tie[0]), device_in(result["map"], tie[1]));
    tensors[tie[1]] = 0;
  }
  std::map<std::string, double> used;
  for (const auto& [path, bytes] : tensors) {
    const Json device = device_in(result["map"], path);
    ASSERT_FALSE(device.is_null()) << path;
    used[device.is_string() ? device.get<std::string>() : device.dump()] += bytes;
  }
  used.erase("disk");
  for (const auto& [device, bytes] : used) {
    ASSERT_TRUE(result["budget"].contains(device) || bytes == 0) << device << result.dump();
    EXPECT_LE(bytes, result["budget"].value(device, 0.0)) << device;
  }
}

std::vector<int> cases_to_plan() {
  std::vector<int> numbers;
  for (std::size_t i = 0; i < golden_cases().size(); ++i) {
    if (golden_cases()[i]["strategy"] != "custom") numbers.push_back(static_cast<int>(i));
  }
  return numbers;
}

INSTANTIATE_TEST_SUITE_P(PlanCasesJson, DefaultPlannerCase, testing::ValuesIn(cases_to_plan()));

std::string complaint(const std::string& json) {
  try {
    plan_cases_json(json);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "";
}

TEST(PlanCasesJson, RefusesTextThatIsNoCases) {
  EXPECT_THAT(complaint("{"), testing::HasSubstr("not JSON"));
  EXPECT_THAT(complaint("7"), testing::HasSubstr("expected an array"));
  EXPECT_THAT(complaint("[7]"), testing::HasSubstr("case 0"));
  EXPECT_THAT(complaint(R"([{"name": "x"}])"), testing::HasSubstr("no \"tree\""));
}

TEST(PlanCasesJson, NamesTheCaseAndTheFieldThatIsWrong) {
  const std::string text =
      complaint(R"([{"name": "n", "tree": {"params": [["w", [-1], "int8"]]}}])");
  EXPECT_THAT(text, testing::HasSubstr("(n)"));
  EXPECT_THAT(text, testing::HasSubstr("-1"));
}

TEST(PlanCasesJson, RefusesShapesThatOverflow) {
  EXPECT_THAT(complaint(R"([{"tree": {"params": [["w", [4294967296, 4294967296], "int8"]]}}])"),
              testing::HasSubstr("overflows"));
}

TEST(PlanCasesJson, RefusesNamesThatRepeat) {
  EXPECT_THAT(complaint(R"([{"tree": {"params": [["w", [1], "int8"], ["w", [1], "int8"]]}}])"),
              testing::HasSubstr("twice"));
}

TEST(PlanCasesJson, RefusesTiesOfNothing) {
  EXPECT_THAT(complaint(R"([{"tree": {"ties": [["a", "b"]]}}])"),
              testing::HasSubstr("not a param"));
}

TEST(PlanCasesJson, RefusesEndlessNesting) {
  std::string tree = "{}";
  for (int i = 0; i < 100; ++i) tree = R"({"children": [["a", )" + tree + "]]}";
  EXPECT_THAT(complaint(R"([{"tree": )" + tree + "}]"), testing::HasSubstr("nested"));
}

TEST(PlanCasesJson, AnswersAnUnknownFlavourOrStrategyWithAnError) {
  const Json results = Json::parse(plan_cases_json(
      R"([{"flavour": "x", "tree": {}}, {"flavour": "accelerate", "strategy": "x", "tree": {}}])"));
  for (const Json& result : results) EXPECT_EQ(result["error"]["type"], "ValueError");
}

}  // namespace
}  // namespace shoehorn
