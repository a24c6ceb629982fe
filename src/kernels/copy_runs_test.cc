#include "kernels/copy_runs.h"

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

TEST(CopyRuns, PartsGoToTheirPlaceInEveryRun) {
  Machine machine(Isa::kRef);
  std::vector<float> from(6);
  std::iota(from.begin(), from.end(), 1.0F);
  std::vector<float> to(8);
  copy_runs(from, {3, 1}, to, {4, 2}, 2, 1, machine.context());
  EXPECT_THAT(to, ElementsAre(0, 0, 2, 3, 0, 0, 5, 6));
}

TEST(CopyRuns, HeadsShareWhatTheirRowHas) {
  Machine machine(Isa::kRef);
  const std::vector<float> from = {1, 2, 3, 4};  // two rows
  std::vector<float> to(8);                      // of two heads each
  copy_runs(from, {2, 1}, to, {2, 0}, 1, 2, machine.context());
  EXPECT_THAT(to, ElementsAre(2, 0, 2, 0, 4, 0, 4, 0));
}

TEST(CopyRuns, RefusesPartsOutsideTheirRun) {
  Machine machine(Isa::kRef);
  const std::vector<float> from(6);
  std::vector<float> to(8);
  const auto copy = [&](Runs source, Runs target, std::int64_t count, std::int64_t share) {
    copy_runs(from, source, to, target, count, share, machine.context());
  };
  EXPECT_THROW(copy({3, 2}, {4, 0}, 2, 1), ArgumentError);
  EXPECT_THROW(copy({3, 0}, {4, 3}, 2, 1), ArgumentError);
  EXPECT_THROW(copy({4, 0}, {2, 0}, 2, 1), ArgumentError);  // one run for four
  EXPECT_THROW(copy({3, 0}, {3, 0}, 2, 1), ArgumentError);  // 8 are no runs of 3
  EXPECT_THROW(copy({3, -1}, {4, 0}, 2, 1), ArgumentError);
  EXPECT_THROW(copy({3, 0}, {4, 0}, 2, 0), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
