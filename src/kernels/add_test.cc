#include "kernels/add.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::Machine;
using kernel_test::random_floats;

TEST(Add, AddsEveryLengthElementByElement) {
  Machine machine(detect_isa(), 3);
  for (const std::int64_t size : {0, 1, 3, 7, 8, 33, 200'001}) {
    auto x = random_floats(size, 1);
    const auto before = x;
    const auto y = random_floats(size, 2);
    add(x, y, machine.context());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], before[i] + y[i]) << size;
  }
}

TEST(Add, RefusesLengthsThatDiffer) {
  Machine machine(Isa::kRef);
  std::vector<float> x(3);
  const std::vector<float> y(4);
  EXPECT_THROW(add(x, y, machine.context()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
