#include "kernels/copy.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::Machine;

TEST(CopyValues, CopiesAllOfThem) {
  Machine machine(Isa::kRef);
  const std::vector<float> from = {1, 2, 3};
  std::vector<float> to(3);
  copy_values(from, to, machine.context());
  EXPECT_EQ(to, from);
  copy_values(to, to, machine.context());
  EXPECT_EQ(to, from);
}

TEST(CopyValues, RefusesOtherLengths) {
  Machine machine(Isa::kRef);
  std::vector<float> to(2);
  EXPECT_THROW(copy_values(std::vector<float>(3), to, machine.context()), ArgumentError);
}

TEST(StackRows, PutsThemOneAfterTheOther) {
  Machine machine(Isa::kRef);
  const std::vector<float> first = {1, 2};
  const std::vector<float> second = {3, 4};
  std::vector<float> to(6);
  stack_rows(std::vector{second.data(), first.data(), second.data()}, 2, to, machine.context());
  EXPECT_THAT(to, testing::ElementsAre(3, 4, 1, 2, 3, 4));
}

TEST(StackRows, RefusesSizesThatDisagree) {
  Machine machine(Isa::kRef);
  const std::vector<float> row = {1, 2};
  std::vector<float> to(3);
  EXPECT_THROW(stack_rows(std::vector{row.data()}, 2, to, machine.context()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
