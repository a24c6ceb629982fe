#include "kernels/layer_norm.h"

#include <cmath>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::Machine;
using kernel_test::random_floats;

TEST(LayerNorm, SubtractsTheMeanAndDividesByTheDeviation) {
  Machine machine(Isa::kRef);
  const std::vector<float> x = {1, 3, 5, 7};  // mean 4, variance 5
  const std::vector<float> weight = {1, 2, 3, 4};
  const std::vector<float> bias = {0, 0, 0, 10};
  std::vector<float> y(4);
  layer_norm(x, weight, bias, /*eps=*/4.0F, 1, 4, y, machine.context());  // sqrt(5 + 4) = 3
  EXPECT_THAT(y, testing::Pointwise(testing::FloatEq(), {-1.0F, -2.0F / 3, 1.0F, 14.0F}));
}

TEST(LayerNorm, EveryLengthAgreesWithDoublePrecision) {
  Machine machine(Isa::kRef);
  for (std::int64_t size = 1; size <= 100; ++size) {
    const auto x = random_floats(2 * size, 1);
    const auto weight = random_floats(size, 2);
    const auto bias = random_floats(size, 3);
    std::vector<float> y(x.size());
    layer_norm(x, weight, bias, 1e-5F, 2, size, y, machine.context());
    for (std::int64_t row = 0; row < 2; ++row) {
      const float* const values = x.data() + row * size;
      double mean = 0;
      for (std::int64_t i = 0; i < size; ++i) mean += values[i] / static_cast<double>(size);
      double variance = 0;
      for (std::int64_t i = 0; i < size; ++i) {
        variance += (values[i] - mean) * (values[i] - mean) / static_cast<double>(size);
      }
      for (std::int64_t i = 0; i < size; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const double want = weight[at] * (values[i] - mean) / std::sqrt(variance + 1e-5) + bias[at];
        EXPECT_NEAR(y[static_cast<std::size_t>(row * size + i)], want, 1e-5) << size;
      }
    }
  }
}

TEST(LayerNorm, WeightsOfSeveralRowsTakeTurns) {
  Machine machine(Isa::kRef);
  const std::vector<float> x = {-1, 1, -1, 1, -1, 1, -1, 1};
  const std::vector<float> weight = {1, 1, 5, 7};  // of two heads
  std::vector<float> y(8);
  layer_norm(x, weight, {}, 0.0F, 4, 2, y, machine.context());
  EXPECT_THAT(y, testing::ElementsAre(-1, 1, -5, 7, -1, 1, -5, 7));
}

TEST(LayerNorm, WithoutWeightsOnlyNormalises) {
  Machine machine(Isa::kRef);
  std::vector<float> x = {0, 4};
  layer_norm(x, {}, {}, 0.0F, 1, 2, x, machine.context());
  EXPECT_THAT(x, testing::ElementsAre(-1, 1));
}

TEST(LayerNorm, RefusesSizesThatDisagree) {
  Machine machine(Isa::kRef);
  std::vector<float> x(6);
  const std::vector<float> weight(4);
  EXPECT_THROW(layer_norm(x, weight, {}, 1.0F, 2, 3, x, machine.context()), ArgumentError);
  EXPECT_THROW(layer_norm(x, {}, {}, 1.0F, 2, 4, x, machine.context()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
