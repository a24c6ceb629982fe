#include "kernels/kv_rows.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::isas;
using kernel_test::random_floats;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsNan;

/// A row off alignment, and what is behind it untouched.
std::vector<std::byte> encoded(const std::vector<float>& row, Isa isa) {
  const auto width = static_cast<std::int64_t>(row.size());
  const std::size_t bytes = kv_row_bytes(DType::kI8, width);
  std::vector<std::byte> out(bytes + 2, std::byte{0x5A});
  encode_kv_row(DType::kI8, row.data(), width, out.data() + 1, isa);
  EXPECT_EQ(out.back(), std::byte{0x5A}) << width;
  return {out.begin() + 1, out.end() - 1};
}

std::vector<float> decoded(const std::vector<std::byte>& bytes, std::int64_t rows,
                           std::int64_t width, Isa isa) {
  std::vector<float> out(static_cast<std::size_t>(rows * width) + 1, 77.0F);
  decode_kv_rows(DType::kI8, bytes.data(), rows, width, out.data(), isa);
  EXPECT_EQ(out.back(), 77.0F) << width;
  out.pop_back();
  return out;
}

TEST(KvRows, AnInt8RowIsItsScaleThenItsCodes) {
  const std::vector<float> row = {127.0F, -2.5F, 1.5F, -127.0F, 0.4F};
  for (const Isa isa : isas()) {
    const auto bytes = encoded(row, isa);
    float scale = 0;
    std::memcpy(&scale, bytes.data(), sizeof(scale));
    EXPECT_EQ(scale, 1.0F);
    std::vector<int> codes;
    for (std::size_t i = 4; i < bytes.size(); ++i)
      codes.push_back(static_cast<std::int8_t>(bytes[i]));
    EXPECT_THAT(codes, ElementsAre(127, -2, 2, -127, 0)) << to_string(isa);  // ties to even
  }
}

TEST(KvRows, EveryInstructionSetGivesTheSameBits) {
  for (std::int64_t width = 0; width <= 70; ++width) {
    auto row = random_floats(width, static_cast<std::uint32_t>(width) + 1);
    for (float& value : row) value *= 3e4F;
    const auto want = encoded(row, Isa::kRef);
    const auto floats = decoded(want, 1, width, Isa::kRef);
    for (const Isa isa : isas()) {
      EXPECT_EQ(encoded(row, isa), want) << to_string(isa) << " " << width;
      EXPECT_EQ(decoded(want, 1, width, isa), floats) << to_string(isa) << " " << width;
    }
  }
}

TEST(KvRows, AnInt8ValueIsOffByHalfAStepAtMost) {
  const auto row = random_floats(128, 5);
  float most = 0;
  for (const float value : row) most = std::max(most, std::abs(value));
  const auto back = decoded(encoded(row, detect_isa()), 1, 128, detect_isa());
  for (std::size_t i = 0; i < row.size(); ++i) {
    EXPECT_LE(std::abs(back[i] - row[i]), most / 127 * 0.50001F) << i;
  }
}

TEST(KvRows, ManyRowsLieOneAfterTheOther) {
  constexpr std::int64_t kWidth = 13;
  std::vector<std::byte> bytes;
  std::vector<float> want;
  for (std::uint32_t row = 0; row < 5; ++row) {
    const auto one = encoded(random_floats(kWidth, row), Isa::kRef);
    bytes.insert(bytes.end(), one.begin(), one.end());
    const auto floats = decoded(one, 1, kWidth, Isa::kRef);
    want.insert(want.end(), floats.begin(), floats.end());
  }
  for (const Isa isa : isas()) EXPECT_EQ(decoded(bytes, 5, kWidth, isa), want) << to_string(isa);
}

TEST(KvRows, WhatIsNoNumberReadsAsNan) {
  for (const float odd : {std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(), std::nanf("")}) {
    for (const std::size_t at : {0U, 17U, 19U}) {
      std::vector<float> row(20, 1.0F);
      row[at] = odd;
      for (const Isa isa : isas()) {
        EXPECT_THAT(decoded(encoded(row, isa), 1, 20, isa), Each(IsNan())) << to_string(isa);
      }
    }
  }
}

TEST(KvRows, TheSmallestAndLargestRowsStayFinite) {
  for (const float size :
       {0.0F, std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::min(), 1e38F}) {
    const std::vector<float> row(20, -size);
    for (const Isa isa : isas()) {
      for (const float value : decoded(encoded(row, isa), 1, 20, isa)) {
        EXPECT_TRUE(std::isfinite(value)) << size;
        EXPECT_LE(std::abs(value + size), 127 * std::numeric_limits<float>::min() + size * 1e-6F);
      }
    }
  }
}

TEST(KvRows, FloatRowsHoldNothingBesideThem) {
  EXPECT_EQ(kv_row_bytes(DType::kF32, 10), 40U);
  EXPECT_EQ(kv_row_bytes(DType::kBF16, 10), 20U);
  EXPECT_EQ(kv_row_bytes(DType::kI8, 10), 14U);
  EXPECT_FALSE(is_kv_dtype(DType::kF64));
}

}  // namespace
}  // namespace shoehorn
