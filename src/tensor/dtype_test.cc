#include "tensor/dtype.h"

#include <limits>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

TEST(DType, NamesComeBack) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(to_string(dtype)), dtype);
    const auto torch_name = dtype_info(dtype).torch_name;
    if (!torch_name.empty()) {
      EXPECT_EQ(dtype_from_torch_name(torch_name), dtype);
    }
  }
  EXPECT_EQ(dtype_from_torch_name("torch.bfloat16"), DType::kBF16);
  EXPECT_EQ(dtype_from_torch_name(""), std::nullopt);
  EXPECT_EQ(dtype_from_name("bf16"), std::nullopt);
}

TEST(PackedBytes, CountsWholeBlocks) {
  EXPECT_EQ(packed_bytes(DType::kBF16, 5), 10U);
  EXPECT_EQ(packed_bytes(DType::kQ4_K, 512), 288U);
  EXPECT_EQ(packed_bytes(DType::kF6E2M3, 8), 6U);
}

TEST(PackedBytes, RefusesPartBlocksAndOverflow) {
  EXPECT_EQ(packed_bytes(DType::kQ4_0, 33), std::nullopt);
  EXPECT_EQ(packed_bytes(DType::kF64, std::numeric_limits<std::int64_t>::max()), std::nullopt);
  EXPECT_EQ(packed_bytes(DType::kF32, -1), std::nullopt);
}

}  // namespace
}  // namespace shoehorn
