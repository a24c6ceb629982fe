// Which device every module lives on: a device map in the sense of Hugging Face, its look-up, and
// what accelerate's check_device_map says about it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plan/device_key.h"
#include "plan/plan_tree.h"

namespace shoehorn {

/// Module (or tensor) path → device, in the order of insertion. The key "" is the whole model. The
/// most specific key wins, wherever it stands.
class DeviceMap {
 public:
  using Entry = std::pair<std::string, DeviceKey>;

  DeviceMap() = default;
  explicit DeviceMap(std::vector<Entry> entries) : entries_(std::move(entries)) {}

  /// Adds a key; one that is there already changes its device.
  void set(std::string path, DeviceKey device);

  const std::vector<Entry>& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

  /// The device of exactly this key.
  std::optional<DeviceKey> find(std::string_view path) const;
  /// The device of a tensor or module: of the longest key that is `path` itself or an ancestor of
  /// it, "" being everything's ancestor. Nothing if no key covers it. Linear in the number of keys;
  /// use devices_of for a whole tree.
  std::optional<DeviceKey> device_of(std::string_view path) const;

 private:
  std::vector<Entry> entries_;
};

/// Device of every node of a tree, by NodeId.
std::vector<std::optional<DeviceKey>> devices_of(const DeviceMap& map, const PlanTree& tree);

/// accelerate's clean_device_map: where all of several keys below a module share a device, the
/// module's own key replaces them. A single key is never shortened.
DeviceMap clean_device_map(const DeviceMap& map);

struct MapCheck {
  std::vector<std::string> unknown_keys;  // no module has this path (a tensor may)
  std::vector<std::string> uncovered;     // parameters and persistent buffers without a device
};

/// accelerate's check_device_map. Unknown keys are a warning there, uncovered tensors an error.
MapCheck check_device_map(const DeviceMap& map, const PlanTree& tree);

}  // namespace shoehorn
