// The rows of several weights as one loop over pieces of work, for products that are bound by
// reading the weights. Internal to the linear family.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/linear.h"

namespace shoehorn {

/// Rows of a weight that a kernel works on together; pieces are whole groups.
inline constexpr std::int64_t kRowGroup = 4;
/// Weights that share a loop at most.
inline constexpr std::size_t kMostLinearTasks = 16;

/// What a row of the weight takes in bytes, its share of the scales included.
std::size_t weight_row_bytes(const WeightView& weight);

/// Pieces of shrinking size (guided self-scheduling, Polychronopoulos and Kuck 1987): long ones
/// first, because the start of each is not prefetched, short ones last, so that all threads end
/// together.
class RowPieces {
 public:
  /// Of all rows of at most kMostLinearTasks weights.
  RowPieces(std::span<const LinearTask> tasks, int threads);

  /// Calls body(task, begin, end, thread) for ranges begin <= n < end of the rows of task number
  /// `task` that together are all rows, each once.
  template <typename Body>
  void run(ThreadPool& pool, const Body& body) const {
    if (count_ == 1) return run_groups(begin_[0], begin_[1], 0, body);
    pool.parallel_for(count_, [&](std::int64_t piece, int thread) {
      const auto i = static_cast<std::size_t>(piece);
      run_groups(begin_[i], begin_[i + 1], thread, body);
    });
  }

 private:
  static constexpr std::size_t kMost = 512;

  template <typename Body>
  void run_groups(std::int64_t begin, std::int64_t end, int thread, const Body& body) const {
    for (std::size_t task = 0; task < tasks_; ++task) {
      const std::int64_t first = std::max(begin, first_group_[task]);
      const std::int64_t last = std::min(end, first_group_[task + 1]);
      if (first >= last) continue;
      body(task, (first - first_group_[task]) * kRowGroup,
           std::min((last - first_group_[task]) * kRowGroup, outputs_[task]), thread);
    }
  }

  std::size_t tasks_ = 0;
  std::array<std::int64_t, kMostLinearTasks> outputs_{};
  std::array<std::int64_t, kMostLinearTasks + 1> first_group_{};
  std::int64_t count_ = 0;
  std::array<std::int64_t, kMost + 1> begin_;
};

}  // namespace shoehorn
