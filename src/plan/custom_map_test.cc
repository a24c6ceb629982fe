#include "plan/custom_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

using testing::HasSubstr;
using testing::Not;

/// model.embed, model.layers.0..2, lm_head tied to model.embed.
struct Fixture {
  Fixture() {
    const Module linear{.class_name = "Linear", .parameters = {{"weight", {4, 4}, DType::kF32}}};
    Module layers{.class_name = "ModuleList"};
    for (const char* name : {"0", "1", "2"}) layers.children.emplace_back(name, linear);
    module_tree.root = {
        .class_name = "LM",
        .children = {
            {"model", {.class_name = "Model", .children = {{"embed", linear}, {"layers", layers}}}},
            {"lm_head", linear}}};
    module_tree.ties = {{"model.embed.weight", "lm_head.weight"}};
  }
  ModuleTree module_tree;
  PlanTree tree() const { return PlanTree(module_tree); }
};

DeviceMap check(const WrittenMap& map, MapRules rules = {.accelerators = {.cuda = 1}}) {
  static const Fixture fixture;
  const PlanTree tree = fixture.tree();
  return check_written_map(map, tree, rules);
}

std::string complaint(const WrittenMap& map, MapRules rules = {.accelerators = {.cuda = 1}}) {
  try {
    check(map, rules);
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "";
}

TEST(CheckWrittenMap, TakesCompleteMaps) {
  const DeviceMap map = check({{"model", 0LL}, {"lm_head", 0LL}});
  EXPECT_EQ(map.device_of("model.layers.1.weight"), DeviceKey::accelerator(0));
}

TEST(CheckWrittenMap, TurnsNamesOfOneDeviceIntoOneDevice) {
  const DeviceMap map = check({{"model", 0LL}, {"lm_head", std::string("cuda:0")}});
  EXPECT_EQ(map.device_of("lm_head.weight"), map.device_of("model.embed.weight"));
}

TEST(CheckWrittenMap, NumbersVirtualDevicesAfterCuda) {
  const DeviceMap map =
      check({{"", std::string("virtual:1")}}, {.accelerators = {.cuda = 2, .virtual_devices = 2}});
  EXPECT_EQ(map.device_of("lm_head"), DeviceKey::accelerator(3));
}

TEST(CheckWrittenMap, TheMostSpecificKeyWins) {
  const DeviceMap map = check({{"model.layers.1", std::string("disk")}, {"", std::string("cpu")}});
  EXPECT_EQ(map.device_of("model.layers.1.weight"), DeviceKey::disk());
  EXPECT_EQ(map.device_of("model.layers.0.weight"), DeviceKey::cpu());
}

TEST(CheckWrittenMap, SuggestsTheNearestModule) {
  EXPECT_THAT(complaint({{"", 0LL}, {"model.layer.1", 0LL}}), HasSubstr("\"model.layers.1\"?"));
}

TEST(CheckWrittenMap, SuggestsTheMissingPrefix) {
  EXPECT_THAT(complaint({{"", 0LL}, {"layers.2", 0LL}}), HasSubstr("\"model.layers.2\"?"));
}

TEST(CheckWrittenMap, SaysWhichModulesToAdd) {
  const std::string text = complaint({{"model.embed", 0LL}, {"lm_head", 0LL}});
  EXPECT_THAT(text, HasSubstr("nothing covers model.layers (3 tensors)"));
  EXPECT_THAT(text, Not(HasSubstr("model.layers.0")));
}

TEST(CheckWrittenMap, APrefixCoversOnlyUpToADot) {
  EXPECT_THAT(complaint({{"model", 0LL}, {"lm", 0LL}}), HasSubstr("nothing covers lm_head"));
}

TEST(CheckWrittenMap, SaysWhichDevicesThereAre) {
  EXPECT_THAT(complaint({{"", 1LL}}), HasSubstr("device 1 does not exist; write 0,"));
  EXPECT_THAT(complaint({{"", std::string("gpu")}}), HasSubstr("\"gpu\" is not a device"));
  EXPECT_THAT(complaint({{"", std::string("CPU")}}), HasSubstr("write \"cpu\""));
  EXPECT_THAT(complaint({{"", -1LL}}), HasSubstr("not a device"));
}

TEST(CheckWrittenMap, AHypotheticalPlanMayNameAnyAccelerator) {
  EXPECT_EQ(complaint({{"", 7LL}}, {.any_accelerator = true}), "");
}

TEST(CheckWrittenMap, RefusesToSplitATiedTensor) {
  const std::string text = complaint({{"model", 0LL}, {"lm_head", std::string("cpu")}});
  EXPECT_THAT(text, HasSubstr("lm_head.weight (cpu) and model.embed.weight (0) are one tensor"));
}

TEST(CheckWrittenMap, ListsProblemsOfAllKindsAtOnce) {
  const std::string text = complaint({{"modle", 0LL}, {"lm_head", std::string("tpu")}});
  EXPECT_THAT(text, HasSubstr("modle"));
  EXPECT_THAT(text, HasSubstr("tpu"));
  EXPECT_THAT(text, HasSubstr("nothing covers model"));
}

TEST(ParseDeviceMapJson, TakesTheOutputOfPlanToo) {
  EXPECT_EQ(parse_device_map_json(R"({"device_map": {"a": 0, "b": "cpu"}, "bytes": {}})").size(),
            2U);
}

TEST(ParseDeviceMapJson, RefusesAKeyThatIsThereTwice) {
  EXPECT_THROW(parse_device_map_json(R"({"a": 0, "a": 1})"), FormatError);
}

TEST(ParseDeviceMapJson, RefusesOtherJson) {
  EXPECT_THROW(parse_device_map_json("[1, 2"), FormatError);
  EXPECT_THROW(parse_device_map_json("[1, 2]"), FormatError);
  EXPECT_THROW(parse_device_map_json(R"({"a": 1.5})"), FormatError);
  EXPECT_THROW(parse_device_map_json(R"({"a": null})"), FormatError);
}

}  // namespace
}  // namespace shoehorn
