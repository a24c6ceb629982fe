#include "weights/weight_store.h"

#include <cstring>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "weights/testing_checkpoint.h"

namespace shoehorn {
namespace {

constexpr Device kCpu{DeviceKind::kCpu};
constexpr Device kDisk{DeviceKind::kDisk};

/// Three groups of two weights each, every one placed by the test.
class WeightStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(::testing::TempDir()) /
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::vector<testing::StoredTensor> tensors;
    for (int i = 0; i < 6; ++i) {
      tensors.push_back({"w" + std::to_string(i), DType::kF32, {4 + i, 8}});
    }
    checkpoint_ = testing::make_checkpoint(path_, tensors);
  }

  WeightStore make(const std::vector<Device>& devices, int slots = 2) {
    std::vector<WeightGroup> groups;
    for (std::size_t i = 0; i < devices.size(); ++i) {
      if (i % 2 == 0) groups.push_back({"g" + std::to_string(i / 2), {}});
      groups.back().weights.push_back({.path = "w" + std::to_string(i),
                                       .shape = checkpoint_->at("w" + std::to_string(i)).shape,
                                       .source = &checkpoint_->at("w" + std::to_string(i)),
                                       .form = {.dtype = DType::kF32},
                                       .device = devices[i]});
    }
    return {*checkpoint_, std::move(groups), memory_, pool_, Isa::kRef, {.staging_slots = slots}};
  }

  void expect_weight(const WeightView& view, int tensor) {
    const TensorInfo& info = checkpoint_->at("w" + std::to_string(tensor));
    std::vector<std::byte> bytes(info.bytes);
    checkpoint_->read(info, bytes);
    ASSERT_NE(view.data, nullptr);
    EXPECT_EQ(view.shape, info.shape);
    EXPECT_EQ(std::memcmp(view.data, bytes.data(), bytes.size()), 0) << info.name;
  }

  std::filesystem::path path_;
  std::unique_ptr<Checkpoint> checkpoint_;
  DeviceMemory memory_{parse_virtual_devices("2x1MiB")};
  ThreadPool pool_{2};
};

TEST_F(WeightStoreTest, EveryPlaceGivesTheSameBytes) {
  const Device v0{DeviceKind::kVirtual, 0};
  const Device v1{DeviceKind::kVirtual, 1};
  for (const std::vector<Device>& devices :
       {std::vector<Device>(6, kCpu), std::vector<Device>(6, kDisk),
        std::vector<Device>{kCpu, kDisk, v0, v1, kDisk, kDisk}}) {
    for (const int slots : {1, 2, 5}) {
      WeightStore store = make(devices, slots);
      for (int pass = 0; pass < 3; ++pass) {
        for (int group = 0; group < 3; ++group) {
          const auto lease = store.take(static_cast<std::size_t>(group));
          expect_weight(lease[0], 2 * group);
          expect_weight(lease[1], 2 * group + 1);
        }
      }
    }
  }
}

TEST_F(WeightStoreTest, APassThatWasCutShortDoesNotConfuseTheNext) {
  WeightStore store = make(std::vector<Device>(6, kDisk));
  for (const int group : {0, 1, 0, 2, 1, 0}) {
    const auto lease = store.take(static_cast<std::size_t>(group));
    expect_weight(lease[1], 2 * group + 1);
  }
}

TEST_F(WeightStoreTest, ChargesEachDevice) {
  const Device v0{DeviceKind::kVirtual, 0};
  const WeightStore store = make({v0, kCpu, kDisk, kDisk, kCpu, v0});
  EXPECT_EQ(memory_.used_bytes(v0),
            128U + 320U);  // w0 [4, 8] and w5 [9, 8], rounded up to 64 bytes
  // Resident w1 [5, 8] and w4 [8, 8], rounded up to 64 bytes; w2 [6, 8] and w3 [7, 8] as they lie
  // in the file, once (the one streamed group would be there twice in a second slot), a block of
  // 4096.
  EXPECT_EQ(memory_.used_bytes(kCpu), 192U + 256U + 4096U);
  EXPECT_EQ(store.streamed_bytes_per_pass(), (6U + 7U) * 32U);
}

TEST_F(WeightStoreTest, FetchesRowsFromWhereverTheyAre) {
  for (const Device device : {kCpu, kDisk}) {
    WeightStore store = make({device, kCpu});
    std::vector<float> out(16);
    const std::vector<std::int32_t> ids = {3, 1};
    store.fetch_rows(0, 0, ids, out);
    std::vector<std::byte> bytes(checkpoint_->at("w0").bytes);
    checkpoint_->read(checkpoint_->at("w0"), bytes);
    EXPECT_EQ(std::memcmp(out.data(), bytes.data() + 3 * 32, 32), 0);
    EXPECT_EQ(std::memcmp(out.data() + 8, bytes.data() + 32, 32), 0);
  }
}

TEST_F(WeightStoreTest, ATruncatedFileIsAnErrorAndNotACrash) {
  WeightStore store = make(std::vector<Device>(6, kDisk), 1);
  std::filesystem::resize_file(path_, 100);
  EXPECT_THROW(
      {
        for (int pass = 0; pass < 2; ++pass) {
          for (std::size_t group = 0; group < 3; ++group) store.take(group);
        }
      },
      FileError);
}

TEST_F(WeightStoreTest, ADeviceWithoutRoomIsNamed) {
  DeviceMemory small(parse_virtual_devices("1x100"));
  std::vector<WeightGroup> groups = {{"g",
                                      {{.path = "w0",
                                        .shape = checkpoint_->at("w0").shape,
                                        .source = &checkpoint_->at("w0"),
                                        .form = {},
                                        .device = {DeviceKind::kVirtual, 0}}}}};
  try {
    const WeightStore store(*checkpoint_, groups, small, pool_, Isa::kRef, {});
    FAIL();
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("virtual:0"), std::string::npos);
  }
}

}  // namespace
}  // namespace shoehorn
