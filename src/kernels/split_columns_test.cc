#include "kernels/split_columns.h"

#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::Machine;
using ::testing::ElementsAre;

std::vector<float> counted(std::size_t size) {
  std::vector<float> values(size);
  std::iota(values.begin(), values.end(), 0.0F);
  return values;
}

TEST(SplitColumns, OneGroupIsStackedParts) {
  Machine machine(Isa::kRef);
  std::vector<float> q(4);
  std::vector<float> k(2);
  split_columns(counted(6), 2, 1, {q, k}, machine.context());
  EXPECT_THAT(q, ElementsAre(0, 1, 3, 4));
  EXPECT_THAT(k, ElementsAre(2, 5));
}

TEST(SplitColumns, GroupsGoHeadByHead) {
  Machine machine(Isa::kRef);
  std::vector<float> q(4);
  std::vector<float> k(4);
  std::vector<float> v(4);
  split_columns(counted(12), 1, 2, {q, k, v}, machine.context());  // two heads of two
  EXPECT_THAT(q, ElementsAre(0, 1, 6, 7));
  EXPECT_THAT(k, ElementsAre(2, 3, 8, 9));
  EXPECT_THAT(v, ElementsAre(4, 5, 10, 11));
}

TEST(SplitColumns, ManyRowsAreSharedByThreads) {
  Machine machine(Isa::kRef);
  const auto x = counted(5000 * 9);
  std::vector<float> a(5000 * 5);
  std::vector<float> b(5000 * 4);
  split_columns(x, 5000, 1, {a, b}, machine.context());
  for (std::size_t row = 0; row < 5000; ++row) {
    EXPECT_EQ(a[row * 5], x[row * 9]);
    EXPECT_EQ(b[row * 4 + 3], x[row * 9 + 8]);
  }
}

TEST(SplitColumns, RefusesPartsThatDoNotAddUp) {
  Machine machine(Isa::kRef);
  std::vector<float> a(4);
  std::vector<float> b(3);
  EXPECT_THROW(split_columns(counted(8), 2, 1, {a}, machine.context()), ArgumentError);
  EXPECT_THROW(split_columns(counted(7), 2, 1, {a, b}, machine.context()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
