#include "api/routes.h"

#include <algorithm>
#include <cstdint>
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

// Calls of up to so many rows share a route; longer ones bring everything.
constexpr std::int64_t kRowClasses[] = {4, 8, 16, 32, 64};

// Of the arithmetic that a probe of the CPU measures, what products of tens of rows reach.
constexpr double kReachedFlops = 0.6;

// A share this large is all: the CPU would hold up the link for little.
constexpr double kAlmostAll = 0.8;

/// The share of the bytes elsewhere that lets the link and the CPU take equally long.
double balanced_share(const Elsewhere& all, std::int64_t rows, const DeviceRates& host,
                      double link_bytes_per_s) {
  const double link_s = all.bytes() / link_bytes_per_s;
  const double cpu_s =
      std::max(all.bytes() / host.memory_bytes_per_s,
               static_cast<double>(rows) * all.flops / (kReachedFlops * host.flops_per_s));
  return cpu_s / (cpu_s + link_s);
}

/// Brings a share of the groups in host memory, evenly over them.
void bring_share(double share, const std::vector<Device>& with_slots,
                 const std::vector<WeightGroup>& groups, Route& route) {
  double due = 0;
  Device before = with_slots.front();
  for (std::size_t g = 1; g < groups.size(); ++g) {
    Device& device = route.group_devices[g];
    const Elsewhere there = elsewhere(groups[g]);
    // Groups on disk are read by the pass itself: the drive is slower than either way.
    if (!is_card(device) && there.host_bytes > 0 && there.disk_bytes == 0) {
      due += share;
      if (due >= 1 - 1e-9) {
        due -= 1;
        device = nearest(with_slots, before);
        route.brought.push_back(g);
      }
    }
    if (is_card(device)) before = device;
  }
}

/// Brings all that lives elsewhere.
void bring_all(const std::vector<Device>& with_slots, const std::vector<WeightGroup>& groups,
               Route& route) {
  Device before = with_slots.front();
  for (std::size_t g = 1; g < groups.size(); ++g) {
    Device& device = route.group_devices[g];
    if (!is_card(device)) device = nearest(with_slots, before);
    before = device;
    const bool has_slots = std::ranges::find(with_slots, device) != with_slots.end();
    if (has_slots && elsewhere(groups[g]).bytes() > 0) route.brought.push_back(g);
  }
}

}  // namespace

void set_routes(const PreparedModel& prepared, double link_share, ModelParts& parts) {
  Route home{.group_devices = compute_devices(parts.groups)};
  for (std::size_t i = 0; i < prepared.plan.layer_devices.size(); ++i) {
    const Device device = prepared.device_of(prepared.plan.layer_devices[i]);
    home.group_devices[i + 1] = device;
    parts.kv_devices.push_back(device);
  }
  const std::vector<Device> with_slots = link_devices(prepared);
  Elsewhere all;
  for (std::size_t g = 1; g < parts.groups.size(); ++g) {
    const Elsewhere there = elsewhere(parts.groups[g]);
    all.host_bytes += there.host_bytes;
    all.disk_bytes += there.disk_bytes;
    all.flops += there.flops;
  }
  if (with_slots.empty() || all.bytes() == 0) {
    parts.routes = {home};
    return;
  }
  parts.weights.link_devices = with_slots;
  const DeviceRates host = prepared.plan_input.devices.at(DeviceKey::cpu()).rates;
  double link_rate = 0;
  for (const auto& [key, spec] : prepared.plan_input.devices) {
    if (spec.link_staging_bytes > 0 && link_rate == 0) link_rate = spec.rates.link_bytes_per_s;
  }
  for (const std::int64_t rows : kRowClasses) {
    double share = balanced_share(all, rows, host, link_rate);
    if (rows == kRowClasses[0] && link_share >= 0) share = link_share;
    Route& route = parts.routes.emplace_back(home);
    route.most_rows = rows;
    if (share >= kAlmostAll) {
      bring_all(with_slots, parts.groups, route);
    } else {
      bring_share(share, with_slots, parts.groups, route);
    }
  }
  bring_all(with_slots, parts.groups, parts.routes.emplace_back(home));
}

}  // namespace shoehorn
