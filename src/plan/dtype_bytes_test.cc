#include "plan/dtype_bytes.h"

#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

TEST(AccelerateDtypeBytes, AgreesWithEveryRecordedName) {
  std::ifstream file(SHOEHORN_TEST_DATA "/device-map-cases.json");
  const auto golden = nlohmann::json::parse(file);
  ASSERT_GE(golden["dtype_bytes"].size(), 24U);
  for (const auto& [name, bytes] : golden["dtype_bytes"].items()) {
    EXPECT_EQ(accelerate_dtype_bytes(name).value, bytes.get<double>()) << name;
  }
}

TEST(AccelerateDtypeBytes, TakesTheTorchPrefix) {
  EXPECT_EQ(accelerate_dtype_bytes("torch.bfloat16").value, 2);
}

TEST(AccelerateDtypeBytes, RefusesNamesTorchDoesNotHave) {
  EXPECT_THROW(accelerate_dtype_bytes("float17"), ArgumentError);
  EXPECT_THROW(accelerate_dtype_bytes(""), ArgumentError);
  EXPECT_THROW(accelerate_dtype_bytes("custom:int3"), ArgumentError);
}

TEST(TorchElementSize, IsAWholeByteForBoolAndSubByteTypes) {
  EXPECT_EQ(torch_element_size("bool").value, 1);
  EXPECT_EQ(torch_element_size("int4").value, 1);
  EXPECT_EQ(torch_element_size("float16").value, 2);
}

TEST(KeepsItsDtype, IsTrueOfIntegersAndBoolOnly) {
  EXPECT_TRUE(keeps_its_dtype("int64"));
  EXPECT_TRUE(keeps_its_dtype("torch.uint8"));
  EXPECT_TRUE(keeps_its_dtype("bool"));
  EXPECT_FALSE(keeps_its_dtype("bfloat16"));
  EXPECT_FALSE(keeps_its_dtype("complex64"));
}

TEST(PlannerDtypeName, CountsGgufBlocksAsStored) {
  EXPECT_EQ(accelerate_dtype_bytes(planner_dtype_name(DType::kQ4_0)).value, 18.0 / 32);
}

}  // namespace
}  // namespace shoehorn
