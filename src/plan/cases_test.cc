#include "plan/cases.h"

#include <fstream>
#include <iterator>
#include <string>

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
class GoldenCase : public testing::TestWithParam<int> {
 protected:
  static const Json& golden() {
    static const Json json = Json::parse(golden_text());
    return json;
  }
  static const Json& results() {
    static const Json json = Json::parse(plan_cases_json(golden_text()));
    return json;
  }
};

TEST_P(GoldenCase, EqualsTheRecordedAnswer) {
  const auto i = static_cast<std::size_t>(GetParam());
  const Json& expect = golden()["cases"][i]["expect"];
  Json ours = results().at(i);
  SCOPED_TRACE(ours["name"].get<std::string>() + "\n" + ours.dump(1));
  ASSERT_EQ(ours["name"], golden()["cases"][i]["name"]);
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
  EXPECT_EQ(Json::parse(golden_text())["cases"].size(), 124U);
}

}  // namespace
}  // namespace shoehorn
