#include "checkpoint/gguf_rope_factors.h"

#include <vector>

#include <gtest/gtest.h>

namespace shoehorn::gguf {
namespace {

std::vector<float> divisors_of(const Llama3RopeScaling& scaling, double theta,
                               std::size_t head_dim) {
  std::vector<float> divisors;
  for (std::size_t i = 0; i < head_dim / 2; ++i) {
    divisors.push_back(static_cast<float>(llama3_divisor(scaling, theta, head_dim, i)));
  }
  return divisors;
}

/// Whatever parameters were found must give the same divisors.
void expect_explained(const Llama3RopeScaling& scaling, double theta, std::size_t head_dim) {
  const std::vector<float> divisors = divisors_of(scaling, theta, head_dim);
  const auto found = llama3_scaling_of(divisors, theta);
  ASSERT_TRUE(found);
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    EXPECT_NEAR(llama3_divisor(*found, theta, head_dim, i), divisors[i], 1e-4 * divisors[i]) << i;
  }
}

TEST(Llama3ScalingOf, FindsThePublishedParametersOfLlama31) {
  const Llama3RopeScaling llama31{.factor = 8.0};
  const auto found = llama3_scaling_of(divisors_of(llama31, 500000.0, 128), 500000.0);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->factor, 8.0);
  EXPECT_EQ(found->low_freq_factor, 1.0);
  EXPECT_EQ(found->high_freq_factor, 4.0);
  EXPECT_EQ(found->original_max_position_embeddings, 8192);
}

TEST(Llama3ScalingOf, FindsThoseOfLlama32) {
  const Llama3RopeScaling llama32{.factor = 32.0};
  const auto found = llama3_scaling_of(divisors_of(llama32, 500000.0, 64), 500000.0);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->factor, 32.0);
  EXPECT_EQ(found->original_max_position_embeddings, 8192);
}

TEST(Llama3ScalingOf, FitsOtherParameters) {
  expect_explained({8.0, 1.0, 4.0, 32}, 10000.0, 16);
  expect_explained({4.0, 1.0, 3.0, 6000}, 500000.0, 128);
  expect_explained({16.0, 2.0, 7.0, 5000}, 1000000.0, 96);
}

TEST(Llama3ScalingOf, RefusesOtherDivisors) {
  EXPECT_FALSE(llama3_scaling_of(std::vector<float>{1.0F, 3.0F, 2.0F, 8.0F}, 10000.0));
  EXPECT_FALSE(llama3_scaling_of(std::vector<float>{1.0F, 0.0F, -5.0F}, 10000.0));
  EXPECT_FALSE(llama3_scaling_of(std::vector<float>{}, 10000.0));
}

}  // namespace
}  // namespace shoehorn::gguf
