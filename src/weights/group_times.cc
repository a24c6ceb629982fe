#include "weights/group_times.h"

#include <utility>

namespace shoehorn {

GroupClock::Use::Use(Use&& other) noexcept
    : clock_(std::exchange(other.clock_, nullptr)),
      group_(other.group_),
      wanted_(other.wanted_),
      ready_(other.ready_) {}

GroupClock::Use::~Use() {
  if (clock_ == nullptr || ready_ == Clock::time_point{}) return;
  const auto seconds = [](Clock::duration time) {
    return std::chrono::duration<double>(time).count();
  };
  clock_->add(group_, seconds(ready_ - wanted_), seconds(Clock::now() - ready_));
}

void GroupClock::add(std::size_t group, double wait_s, double busy_s) {
  const std::lock_guard lock(mutex_);
  GroupTime& time = times_[group];
  ++time.passes;
  time.wait_s += wait_s;
  time.busy_s += busy_s;
}

std::vector<GroupTime> GroupClock::times() const {
  const std::lock_guard lock(mutex_);
  return times_;
}

}  // namespace shoehorn
