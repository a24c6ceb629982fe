#include "plan/room.h"

#include <algorithm>
#include <optional>

namespace shoehorn {
namespace {

Bytes clamp_bytes(std::size_t bytes) {
  return static_cast<Bytes>(std::min(bytes, std::size_t{1} << 60));
}

}  // namespace

Room::Room(const CostModel& model, double accelerator_share) {
  const PlanInput& input = model.input();
  for (const auto& [device, spec] : input.devices) {
    if (!device.is_disk() && !device.is_cpu()) order_.push_back(device);
  }
  std::optional<DeviceKey> spared;
  if (input.strategy == Strategy::kBalancedLow0 && order_.size() > 1) {
    spared = order_.front();
    std::rotate(order_.begin(), order_.begin() + 1, order_.end());
  }
  for (const DeviceKey device : order_) {
    const PlanDevice& spec = input.devices.at(device);
    const double share = device == spared ? 1 : accelerator_share;
    const Bytes limit = clamp_bytes(spec.limit_bytes);
    free_.push_back(
        {.bytes = share < 1 ? static_cast<Bytes>(static_cast<double>(limit) * share) : limit,
         .fixed = clamp_bytes(spec.workspace_bytes) + clamp_bytes(spec.process_bytes) +
                  clamp_bytes(spec.link_staging_bytes),
         .host_memory = spec.host_memory});
  }
  const auto cpu = input.devices.find(DeviceKey::cpu());
  if (cpu == input.devices.end()) return;
  cpu_ = static_cast<int>(order_.size());
  order_.push_back(DeviceKey::cpu());
  free_.push_back({.bytes = clamp_bytes(cpu->second.limit_bytes) -
                            clamp_bytes(model.reserve(DeviceKey::cpu())) -
                            clamp_bytes(cpu->second.workspace_bytes) -
                            clamp_bytes(cpu->second.process_bytes)});
}

bool Room::take_host(Bytes bytes) {
  if (bytes == 0) return true;
  if (!has_cpu() || free_[cpu()].bytes < bytes) return false;
  free_[cpu()].bytes -= bytes;
  return true;
}

bool Room::take(std::size_t i, Bytes bytes) {
  Free& free = free_[i];
  if (bytes == 0) return free.bytes >= 0;
  const Bytes whole = bytes + (free.touched ? 0 : free.fixed);
  if (free.bytes < whole) return false;
  if (free.host_memory && has_cpu() && i != cpu() && !take_host(whole)) return false;
  free.bytes -= whole;
  free.touched = true;
  return true;
}

}  // namespace shoehorn
