#include "plan/pass_timeline.h"

#include <vector>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

constexpr TimelineStep kResident{.compute_s = 1};

TimelineStep streamed(double read_s) {
  return {.compute_s = 1, .read_s = read_s, .ring_bytes = 100};
}

TEST(SteadyPass, ResidentStepsAddUp) {
  EXPECT_DOUBLE_EQ(steady_pass_s(std::vector(7, kResident), 0), 7);
  EXPECT_DOUBLE_EQ(steady_pass_s({}, 100), 0);
}

TEST(SteadyPass, ASlowDriveNeverIdlesWithTwoSlots) {
  const std::vector<TimelineStep> steps = {streamed(5), kResident, streamed(5), kResident};
  EXPECT_DOUBLE_EQ(steady_pass_s(steps, 200), 10);
}

TEST(SteadyPass, OneSlotMakesThemTakeTurns) {
  const std::vector<TimelineStep> steps = {streamed(5), streamed(5)};
  EXPECT_DOUBLE_EQ(steady_pass_s(steps, 100), 12);
}

TEST(SteadyPass, LatencyIsHiddenWhereTheNextReadIsAskedForInTime) {
  const std::vector<TimelineStep> steps = {streamed(5), streamed(5)};
  EXPECT_DOUBLE_EQ(steady_pass_s(steps, 200, 0.5), 10);
  EXPECT_DOUBLE_EQ(steady_pass_s(steps, 100, 0.5), 13);
}

TEST(SteadyPass, AFastDriveHidesBehindTheProcessor) {
  const std::vector<TimelineStep> steps = {streamed(0.5), kResident, streamed(0.5)};
  EXPECT_DOUBLE_EQ(steady_pass_s(steps, 200), 3);
}

// Two streamed groups in a row and a long resident stretch: two slots cannot hold enough of the
// next pass to fill the stretch with reading, three can.
TEST(SteadyPass, ALargerRingEvensOutWhatIsUneven) {
  const std::vector<TimelineStep> steps = {streamed(3), streamed(3), streamed(3),
                                           kResident,   kResident,   kResident,
                                           kResident,   kResident,   kResident};
  const double two = steady_pass_s(steps, 200);
  const double three = steady_pass_s(steps, 300);
  EXPECT_GT(two, three);
  EXPECT_GE(three, 9);
  EXPECT_LE(three, two);
}

}  // namespace
}  // namespace shoehorn
