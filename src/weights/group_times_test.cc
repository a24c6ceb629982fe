#include "weights/group_times.h"

#include <chrono>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

void sleep_ms(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

TEST(GroupClock, WaitingAndComputingAreToldApart) {
  GroupClock clock(2);
  {
    GroupClock::Use use = clock.begin(1);
    sleep_ms(20);
    use.ready();
    const GroupClock::Use moved = std::move(use);  // counts once
    sleep_ms(5);
  }
  const auto times = clock.times();
  EXPECT_EQ(times[0].passes, 0U);
  EXPECT_EQ(times[1].passes, 1U);
  EXPECT_GE(times[1].wait_s, 0.02);
  EXPECT_GE(times[1].busy_s, 0.005);
  EXPECT_LT(times[1].busy_s, 10);
}

TEST(GroupClock, AGroupThatNeverCameCountsForNothing) {
  GroupClock clock(1);
  { const GroupClock::Use use = clock.begin(0); }
  EXPECT_EQ(clock.times()[0].passes, 0U);
}

}  // namespace
}  // namespace shoehorn
