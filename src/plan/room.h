// The room left on the devices while the search places pieces on them.
#pragma once

#include <vector>

#include "plan/cost_model.h"
#include "plan/pieces.h"

namespace shoehorn {

class Room {
 public:
  /// All limits less what is fixed. Of each accelerator only `accelerator_share` may be used, but
  /// for the one that balanced_low_0 spares, which comes last and may be used whole.
  explicit Room(const CostModel& model, double accelerator_share = 1);

  /// Accelerators, then the CPU where there is one: in order of preference.
  const std::vector<DeviceKey>& order() const { return order_; }
  bool has_cpu() const { return cpu_ >= 0; }
  std::size_t cpu() const { return static_cast<std::size_t>(cpu_); }
  bool is_host_memory(std::size_t i) const { return free_[i].host_memory; }
  /// What cannot move fits the CPU's limit.
  bool is_valid() const { return !has_cpu() || free_[cpu()].bytes >= 0; }

  /// Takes bytes of the i-th device of order(), and its workspace with the first; false, and
  /// nothing changes, if there are not enough. Host-backed accelerators take them from the CPU too.
  bool take(std::size_t i, Bytes bytes);
  /// The same for the CPU; taking nothing works without one.
  bool take_host(Bytes bytes);

 private:
  struct Free {
    Bytes bytes = 0;
    Bytes fixed = 0;  // workspace and context, taken with the first piece
    bool host_memory = false;
    bool touched = false;
  };
  std::vector<DeviceKey> order_;
  std::vector<Free> free_;
  int cpu_ = -1;
};

}  // namespace shoehorn
