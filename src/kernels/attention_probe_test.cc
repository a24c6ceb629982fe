#include "kernels/attention_probe.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(AttentionProbe, EveryCacheTakesTime) {
  ThreadPool pool(2);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8}) {
    const AttentionShape shape{.kv_dtype = dtype, .heads = 8, .kv_heads = 2, .head_dim = 64};
    EXPECT_GT(measure_attention_s(shape, 100, 1, kMiB, pool, detect_isa()), 0) << to_string(dtype);
    EXPECT_GT(measure_attention_s(shape, 0, 32, kMiB, pool, detect_isa()), 0) << to_string(dtype);
  }
}

TEST(AttentionProbe, WhatDoesNotFitIsScaled) {
  ThreadPool pool(1);
  const AttentionShape shape{
      .kv_dtype = DType::kF32, .heads = 4, .kv_heads = 4, .head_dim = 64, .value_dim = 32};
  const double near = measure_attention_s(shape, 500, 1, kMiB, pool, detect_isa());
  const double far = measure_attention_s(shape, 500 * 64, 1, kMiB, pool, detect_isa());
  EXPECT_GT(far, 8 * near);
}

TEST(AttendedPairs, AreThoseThatOneByOneGive) {
  for (const std::int64_t window : {0, 1, 5, 40}) {
    for (const std::int64_t start : {0, 3, 5, 60}) {
      double pairs = 0;
      for (std::int64_t t = 0; t < 9; ++t) {
        const std::int64_t keys = start + t + 1;
        pairs += static_cast<double>(window > 0 ? std::min(keys, window) : keys);
        EXPECT_EQ(attended_pairs(start, t + 1, window), pairs) << start << ", window " << window;
      }
    }
  }
}

TEST(AttentionProbe, AWindowIsAllThatIsSeen) {
  ThreadPool pool(1);
  AttentionShape shape{.kv_dtype = DType::kF32, .heads = 4, .kv_heads = 4, .head_dim = 64};
  const double all = measure_attention_s(shape, 4000, 1, 16 * kMiB, pool, detect_isa());
  shape.sliding_window = 64;
  EXPECT_LT(measure_attention_s(shape, 4000, 1, 16 * kMiB, pool, detect_isa()), all / 4);
}

TEST(AttentionProbe, NothingIsMeasuredWithoutHeadsOrRoom) {
  ThreadPool pool(1);
  EXPECT_EQ(measure_attention_s({}, 100, 1, kMiB, pool, detect_isa()), 0);
  const AttentionShape shape{.kv_dtype = DType::kF32, .heads = 4, .kv_heads = 4, .head_dim = 64};
  EXPECT_EQ(measure_attention_s(shape, 0, 512, 1024, pool, detect_isa()), 0);
}

}  // namespace
}  // namespace shoehorn
