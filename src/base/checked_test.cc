#include "base/checked.h"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

TEST(CheckedMul, RefusesToWrap) {
  EXPECT_EQ(checked_mul<std::uint64_t>(1ULL << 32, 1ULL << 32), std::nullopt);
  EXPECT_EQ(checked_mul<std::uint64_t>(1ULL << 31, 1ULL << 32), 1ULL << 63);
}

TEST(CheckedAdd, RefusesToWrap) {
  EXPECT_EQ(checked_add<std::int64_t>(std::numeric_limits<std::int64_t>::max(), 1), std::nullopt);
  EXPECT_EQ(checked_add<std::int64_t>(-1, 1), 0);
}

}  // namespace
}  // namespace shoehorn
