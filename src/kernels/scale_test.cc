#include "kernels/scale.h"

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

TEST(Scale, MultipliesEveryValue) {
  Machine machine(Isa::kRef);
  std::vector<float> x = {1, -2, 3};
  scale(x, 0.5F, machine.context());
  EXPECT_THAT(x, testing::ElementsAre(0.5F, -1.0F, 1.5F));
}

TEST(AddScaled, AddsTheProduct) {
  Machine machine(Isa::kRef);
  std::vector<float> x = {1, -2, 3};
  const std::vector<float> y = {10, 20, 30};
  add_scaled(x, y, 0.5F, machine.context());
  EXPECT_THAT(x, testing::ElementsAre(6, 8, 18));
  EXPECT_THROW(add_scaled(x, std::vector<float>(2), 1.0F, machine.context()), ArgumentError);
}

TEST(SoftCap, IsCapTimesTanhAtEveryLength) {
  for (const Isa isa : isas()) {
    Machine machine(isa);
    for (const std::int64_t size : {0, 1, 7, 8, 17, 1023, 1025, 20'000}) {
      const auto x = random_floats(size, 1, 40.0F);
      auto y = x;
      soft_cap(y, 30.0F, machine.context());
      for (std::size_t i = 0; i < x.size(); ++i) {
        EXPECT_NEAR(y[i], 30 * std::tanh(x[i] / 30.0), 3e-5) << to_string(isa);
      }
    }
  }
}

}  // namespace
}  // namespace shoehorn
