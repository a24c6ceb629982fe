#include "api/routes.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "weights/weight_group.h"

namespace shoehorn {
namespace {

bool is_card(Device device) {
  return device.kind == DeviceKind::kCuda;
}

/// The CUDA devices that have slots.
std::vector<Device> link_devices(const PreparedModel& prepared) {
  std::vector<Device> devices;
  for (const auto& [key, spec] : prepared.plan_input.devices) {
    if (spec.link_staging_bytes > 0) devices.push_back(prepared.device_of(key));
  }
  return devices;
}

/// What of a group lives in host memory and on disk.
struct Elsewhere {
  double host_bytes = 0;
  double disk_bytes = 0;
  double flops = 0;  // of a row, of both

  double bytes() const { return host_bytes + disk_bytes; }
};

Elsewhere elsewhere(const WeightGroup& group) {
  Elsewhere result;
  for (const WeightSpec& weight : group.weights) {
    if (!weight.exists() || is_card(weight.device)) continue;
    const auto bytes = static_cast<double>(form_bytes(weight));
    (weight.device.kind == DeviceKind::kDisk ? result.disk_bytes : result.host_bytes) += bytes;
    if (weight.shape.rank() == 2) {
      result.flops += 2 * static_cast<double>(weight.shape.elements());
    }
  }
  return result;
}

/// The nearest device with slots: that of the layer before, else the first.
Device nearest(const std::vector<Device>& with_slots, Device before) {
  return std::ranges::find(with_slots, before) != with_slots.end() ? before : with_slots.front();
}

/// The fewest rows of a pass for which multiplying on the CPU takes longer than the link.
std::int64_t rows_worth_the_link(double bytes, double flops, const DeviceRates& host,
                                 double link_bytes_per_s) {
  const double link_s = bytes / link_bytes_per_s;
  if (bytes / host.memory_bytes_per_s >= link_s || flops == 0) return 1;
  return std::max<std::int64_t>(std::llround(std::ceil(link_s * host.flops_per_s / flops)), 2);
}

/// Of short passes, brings every so manieth group in host memory, evenly over them.
void bring_share(double share, const std::vector<Device>& with_slots, ModelParts& parts) {
  double due = 0;
  Device before = with_slots.front();
  for (std::size_t g = 1; g < parts.groups.size(); ++g) {
    Device& device = parts.home.group_devices[g];
    const Elsewhere there = elsewhere(parts.groups[g]);
    // Groups on disk are read by the pass itself: the drive is slower than either way.
    if (!is_card(device) && there.host_bytes > 0 && there.disk_bytes == 0) {
      due += share;
      if (due >= 1 - 1e-9) {
        due -= 1;
        device = nearest(with_slots, before);
        parts.home.brought.push_back(g);
      }
    }
    if (is_card(device)) before = device;
  }
}

}  // namespace

void set_routes(const PreparedModel& prepared, double link_share, ModelParts& parts) {
  parts.home.group_devices = compute_devices(parts.groups);
  for (std::size_t i = 0; i < prepared.plan.layer_devices.size(); ++i) {
    const Device device = prepared.device_of(prepared.plan.layer_devices[i]);
    parts.home.group_devices[i + 1] = device;
    parts.kv_devices.push_back(device);
  }
  const std::vector<Device> with_slots = link_devices(prepared);
  double bytes = 0;
  double flops = 0;
  for (std::size_t g = 1; g < parts.groups.size(); ++g) {
    const Elsewhere there = elsewhere(parts.groups[g]);
    bytes += there.bytes();
    flops += there.flops;
  }
  if (with_slots.empty() || bytes == 0) return;

  Route link{.group_devices = parts.home.group_devices};
  Device before = with_slots.front();
  for (std::size_t g = 1; g < parts.groups.size(); ++g) {
    Device& device = link.group_devices[g];
    if (!is_card(device)) device = nearest(with_slots, before);
    before = device;
    const bool has_slots = std::ranges::find(with_slots, device) != with_slots.end();
    if (has_slots && elsewhere(parts.groups[g]).bytes() > 0) link.brought.push_back(g);
  }
  const DeviceRates host = prepared.plan_input.devices.at(DeviceKey::cpu()).rates;
  double link_rate = 0;
  for (const auto& [key, spec] : prepared.plan_input.devices) {
    if (spec.link_staging_bytes > 0 && link_rate == 0) link_rate = spec.rates.link_bytes_per_s;
  }
  parts.link_rows = rows_worth_the_link(bytes, flops, host, link_rate);
  parts.link = std::move(link);
  parts.weights.link_devices = with_slots;
  const double balanced = link_rate / (link_rate + host.memory_bytes_per_s);
  bring_share(link_share >= 0 ? std::min(link_share, 1.0) : balanced, with_slots, parts);
}

}  // namespace shoehorn
