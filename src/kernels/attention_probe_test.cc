#include "kernels/attention_probe.h"

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

TEST(AttentionProbe, NothingIsMeasuredWithoutHeadsOrRoom) {
  ThreadPool pool(1);
  EXPECT_EQ(measure_attention_s({}, 100, 1, kMiB, pool, detect_isa()), 0);
  const AttentionShape shape{.kv_dtype = DType::kF32, .heads = 4, .kv_heads = 4, .head_dim = 64};
  EXPECT_EQ(measure_attention_s(shape, 0, 512, 1024, pool, detect_isa()), 0);
}

}  // namespace
}  // namespace shoehorn
