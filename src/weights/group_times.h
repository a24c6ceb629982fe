// How long passes wait for each group of weights, and how long they compute with it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace shoehorn {

struct GroupTime {
  std::uint64_t passes = 0;
  double wait_s = 0;  // of all passes: until its weights were there
  /// Of all passes: as long as they had it. Of a group that a CUDA device computes this is how long
  /// submitting the work took, unless it waited.
  double busy_s = 0;
};

/// Thread-safe.
class GroupClock {
 public:
  explicit GroupClock(std::size_t groups) : times_(groups) {}

  /// A group while a pass wants it and has it. One that ends before ready() counts for nothing.
  class Use {
   public:
    Use(Use&& other) noexcept;
    Use& operator=(Use&&) = delete;
    Use(const Use&) = delete;
    ~Use();
    /// Its weights are there.
    void ready() { ready_ = Clock::now(); }

   private:
    friend class GroupClock;
    using Clock = std::chrono::steady_clock;
    Use(GroupClock* clock, std::size_t group)
        : clock_(clock), group_(group), wanted_(Clock::now()) {}

    GroupClock* clock_;
    std::size_t group_;
    Clock::time_point wanted_;
    Clock::time_point ready_ = {};
  };
  Use begin(std::size_t group) { return {this, group}; }

  std::vector<GroupTime> times() const;

 private:
  void add(std::size_t group, double wait_s, double busy_s);

  mutable std::mutex mutex_;
  std::vector<GroupTime> times_;
};

}  // namespace shoehorn
