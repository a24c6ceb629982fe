#include "kernels/rms_norm.h"

#include <cmath>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::isas;
using kernel_test::Machine;
using kernel_test::random_floats;

TEST(RmsNorm, DividesByTheRootMeanSquareAndScales) {
  for (const Isa isa : isas()) {
    Machine machine(isa);
    const std::vector<float> x = {3, -1, 1, 5};  // mean square 9
    const std::vector<float> weight = {1, 2, 3, 4};
    std::vector<float> y(4);
    rms_norm(x, weight, /*eps=*/7.0F, 1, y, machine.context());  // sqrt(9 + 7) = 4
    EXPECT_THAT(y, testing::ElementsAre(0.75F, -0.5F, 0.75F, 5.0F)) << to_string(isa);
  }
}

// Every value is a few roundings from the exact one.
TEST(RmsNorm, EveryLengthAgreesWithRef) {
  for (std::int64_t size = 1; size <= 140; ++size) {
    const auto x = random_floats(3 * size, 1);
    const auto weight = random_floats(size, 2);
    std::vector<float> expected(x.size());
    Machine ref(Isa::kRef);
    rms_norm(x, weight, 1e-5F, 3, expected, ref.context());
    for (const Isa isa : isas()) {
      Machine machine(isa);
      std::vector<float> y(x.size());
      rms_norm(x, weight, 1e-5F, 3, y, machine.context());
      for (std::size_t i = 0; i < y.size(); ++i) {
        EXPECT_NEAR(y[i], expected[i], 2e-6 * std::fabs(expected[i])) << to_string(isa) << size;
      }
    }
  }
}

TEST(RmsNorm, AnOffsetIsAddedToEveryWeight) {
  for (std::int64_t size = 1; size <= 70; ++size) {
    const auto x = random_floats(2 * size, 1);
    const auto weight = random_floats(size, 2);
    std::vector<float> more(weight);
    for (float& value : more) value += 1.0F;
    for (const Isa isa : isas()) {
      Machine machine(isa);
      std::vector<float> y(x.size());
      std::vector<float> expected(x.size());
      rms_norm(x, more, 1e-5F, 2, expected, machine.context());
      rms_norm(x, weight, 1e-5F, 2, y, machine.context(), 1.0F);
      for (std::size_t i = 0; i < y.size(); ++i) {
        EXPECT_NEAR(y[i], expected[i], 1e-6 * std::fabs(expected[i]) + 1e-7) << to_string(isa);
      }
    }
  }
}

TEST(RmsNorm, NoRowsAreNoWork) {
  for (const Isa isa : isas()) {
    Machine machine(isa);
    const std::vector<float> weight(5);
    EXPECT_NO_THROW(rms_norm({}, weight, 1e-5F, 0, {}, machine.context()));
    EXPECT_NO_THROW(rms_norm({}, {}, 1e-5F, 2, {}, machine.context()));
  }
}

TEST(RmsNorm, InPlaceGivesTheSame) {
  for (const Isa isa : isas()) {
    Machine machine(isa);
    auto x = random_floats(4 * 77, 1);
    const auto weight = random_floats(77, 2);
    std::vector<float> y(x.size());
    rms_norm(x, weight, 1e-5F, 4, y, machine.context());
    rms_norm(x, weight, 1e-5F, 4, x, machine.context());
    EXPECT_EQ(x, y) << to_string(isa);
  }
}

TEST(RmsNorm, ManyRowsAreSharedByThreads) {
  for (const Isa isa : isas()) {
    Machine alone(isa, 1);
    Machine shared(isa, 3);
    const auto x = random_floats(500 * 300, 1);
    const auto weight = random_floats(300, 2);
    std::vector<float> a(x.size());
    std::vector<float> b(x.size());
    rms_norm(x, weight, 1e-5F, 500, a, alone.context());
    rms_norm(x, weight, 1e-5F, 500, b, shared.context());
    EXPECT_EQ(a, b) << to_string(isa);
  }
}

TEST(RmsNorm, RefusesSizesThatDisagree) {
  Machine machine(Isa::kRef);
  const std::vector<float> x(10);
  const std::vector<float> weight(4);
  std::vector<float> y(10);
  EXPECT_THROW(rms_norm(x, weight, 1e-5F, 2, y, machine.context()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
