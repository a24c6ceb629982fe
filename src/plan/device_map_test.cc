#include "plan/device_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "plan/budget.h"

namespace shoehorn {
namespace {

using testing::ElementsAre;
using testing::Pair;

const DeviceKey k0 = DeviceKey::accelerator(0);
const DeviceKey k1 = DeviceKey::accelerator(1);

TEST(DeviceMap, TheLongestKeyThatCoversWins) {
  const DeviceMap map({{"m.x", k0}, {"m", k1}, {"", DeviceKey::cpu()}});
  EXPECT_EQ(map.device_of("m.x.weight"), k0);
  EXPECT_EQ(map.device_of("m.y.weight"), k1);
  EXPECT_EQ(map.device_of("other"), DeviceKey::cpu());
}

TEST(DeviceMap, AKeyCoversOnlyAtDots) {
  const DeviceMap map({{"l", k0}});
  EXPECT_EQ(map.device_of("l.weight"), k0);
  EXPECT_EQ(map.device_of("l1.weight"), std::nullopt);
}

TEST(DeviceMap, SetReplacesAKey) {
  DeviceMap map({{"a", k0}});
  map.set("a", k1);
  map.set("b", k0);
  EXPECT_THAT(map.entries(), ElementsAre(Pair("a", k1), Pair("b", k0)));
}

TEST(CleanDeviceMap, JoinsSeveralKeysOfOneDevice) {
  const DeviceMap map({{"a.x", k0}, {"a.y", k0}, {"b", k1}});
  EXPECT_THAT(clean_device_map(map).entries(), ElementsAre(Pair("a", k0), Pair("b", k1)));
}

TEST(CleanDeviceMap, JoinsAllIntoTheRoot) {
  EXPECT_THAT(clean_device_map(DeviceMap({{"a.x", k0}, {"b", k0}})).entries(),
              ElementsAre(Pair("", k0)));
}

TEST(CleanDeviceMap, NeverShortensASingleKey) {
  const DeviceMap map({{"a.b", k0}, {"c", k1}});
  EXPECT_THAT(clean_device_map(map).entries(), ElementsAre(Pair("a.b", k0), Pair("c", k1)));
}

TEST(CleanDeviceMap, DoesNotMixNeighboursThatShareAPrefix) {
  const DeviceMap map({{"a.x", k0}, {"a-b.x", k1}, {"a.y", k0}, {"ab.y", k1}});
  EXPECT_THAT(clean_device_map(map).entries(),
              testing::UnorderedElementsAre(Pair("a", k0), Pair("a-b.x", k1), Pair("ab.y", k1)));
}

TEST(ParseDevice, TakesEveryNameOfADevice) {
  const AcceleratorCounts counts{.cuda = 2, .virtual_devices = 1};
  EXPECT_EQ(parse_device("1", counts), k1);
  EXPECT_EQ(parse_device("cuda:1", counts), k1);
  EXPECT_EQ(parse_device("cuda", counts), k0);
  EXPECT_EQ(parse_device("virtual:0", counts), DeviceKey::accelerator(2));
  EXPECT_EQ(parse_device("disk", counts), DeviceKey::disk());
  for (const char* wrong : {"", "gpu", "cuda:", "cuda:-1", "-1", "1.5", "cpu:0"}) {
    EXPECT_EQ(parse_device(wrong, counts), std::nullopt) << wrong;
  }
}

TEST(ReferenceBudget, SortsDevicesAndParsesSizes) {
  const Budget budget = reference_budget({{"disk", PyNumber{1}},
                                          {"cpu", std::string("1KiB")},
                                          {"3", PyNumber{7}},
                                          {"-1", PyNumber{5}}});
  std::vector<std::string> order;
  for (const auto& [device, bytes] : budget) order.push_back(to_string(device));
  EXPECT_THAT(order, ElementsAre("-1", "3", "cpu", "disk"));
  EXPECT_EQ(budget.at(DeviceKey::cpu()).value, 1024);
}

TEST(ReferenceBudget, RefusesDevicesAccelerateRefuses) {
  EXPECT_THROW(reference_budget({{"cuda:0", PyNumber{1}}}), ArgumentError);
  EXPECT_THROW(reference_budget({{"gpu", PyNumber{1}}}), ArgumentError);
}

TEST(ParseMaxMemory, TakesNamesOfAccelerators) {
  const auto limits =
      parse_max_memory({{"cuda:0", std::string("1TiB")}, {"cpu", PyNumber{10}}}, {});
  EXPECT_EQ(limits.at(k0), std::size_t{1} << 40);
}

TEST(ParseMaxMemory, RefusesOneDeviceUnderTwoNames) {
  EXPECT_THROW(parse_max_memory({{"0", PyNumber{1}}, {"cuda:0", PyNumber{2}}}, {}), ArgumentError);
}

TEST(ParseMaxMemory, RefusesNegativeAmounts) {
  EXPECT_THROW(parse_max_memory({{"cpu", PyNumber{-1}}}, {}), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
