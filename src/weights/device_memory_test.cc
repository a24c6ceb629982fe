#include "weights/device_memory.h"

#include <string>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

TEST(ParseVirtualDevices, ReadsCountsAndLists) {
  const auto two = parse_virtual_devices("2x64MiB");
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[1].device, (Device{DeviceKind::kVirtual, 1}));
  EXPECT_EQ(two[1].limit_bytes, 64U << 20);
  const auto list = parse_virtual_devices("1KiB,2x2KiB");
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0].limit_bytes, 1024U);
  EXPECT_EQ(list[2].limit_bytes, 2048U);
}

TEST(ParseVirtualDevices, RefusesNonsense) {
  EXPECT_THROW(parse_virtual_devices("0x1MiB"), ArgumentError);
  EXPECT_THROW(parse_virtual_devices("100x1MiB"), ArgumentError);
  EXPECT_THROW(parse_virtual_devices("many"), ArgumentError);
}

TEST(DeviceMemory, KeepsEachDeviceUnderItsLimit) {
  DeviceMemory memory(parse_virtual_devices("1x1KiB"));
  const Device device{DeviceKind::kVirtual, 0};
  {
    const DeviceBuffer buffer = memory.allocate(device, 1000, "weights");
    EXPECT_EQ(memory.used_bytes(device), 1000U);
    EXPECT_THROW(memory.allocate(device, 25, "more"), DeviceError);
  }
  EXPECT_EQ(memory.used_bytes(device), 0U);
  EXPECT_EQ(memory.peak_bytes(device), 1000U);
  EXPECT_EQ(memory.allocate(device, 1024, "weights").size(), 1024U);
}

TEST(DeviceMemory, SaysWhatDidNotFit) {
  DeviceMemory memory(parse_virtual_devices("1KiB"));
  try {
    memory.allocate({DeviceKind::kVirtual, 0}, 2048, "the KV cache");
    FAIL();
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("the KV cache"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("1024"), std::string::npos);
  }
}

TEST(DeviceMemory, NamesADeviceThatIsNotThere) {
  DeviceMemory memory({});
  EXPECT_THROW(memory.allocate({DeviceKind::kVirtual, 3}, 1, "x"), DeviceError);
}

TEST(DeviceMemory, WhatOthersAllocateIsInTheAccountToo) {
  DeviceMemory memory(parse_virtual_devices("1x1000"));
  const Device device{DeviceKind::kVirtual, 0};
  {
    DeviceCharge charge = memory.charge(device, 600, "logits");
    const DeviceCharge moved = std::move(charge);
    EXPECT_EQ(memory.used_bytes(device), 600U);
    EXPECT_THROW(memory.charge(device, 500, "more logits"), DeviceError);
    EXPECT_THROW(memory.allocate(device, 500, "weights"), DeviceError);
  }
  EXPECT_EQ(memory.used_bytes(device), 0U);
}

}  // namespace
}  // namespace shoehorn
