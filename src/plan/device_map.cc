#include "plan/device_map.h"

#include <algorithm>
#include <map>

namespace shoehorn {
namespace {

using SortedMap = std::map<std::string, DeviceKey, std::less<>>;

// The keys below `module` are neighbours in a sorted map: those that start with "module.".
std::pair<SortedMap::iterator, SortedMap::iterator> keys_below(SortedMap& map,
                                                               const std::string& module) {
  if (module.empty()) return {map.begin(), map.end()};
  return {map.lower_bound(module + "."), map.lower_bound(module + "/")};  // '/' follows '.'
}

void clean_below(SortedMap& map, const std::string& module) {
  const auto [first, last] = keys_below(map, module);
  if (first == last) return;
  const DeviceKey device = first->second;
  const bool several = std::next(first) != last;
  if (several && std::all_of(first, last, [device](const auto& e) { return e.second == device; })) {
    map.erase(first, last);
    map[module] = device;
    return;
  }
  const std::size_t prefix = module.empty() ? 0 : module.size() + 1;
  std::vector<std::string> children;
  for (auto entry = first; entry != last; ++entry) {
    if (entry->first.empty()) continue;
    std::string child = entry->first.substr(0, entry->first.find('.', prefix));
    if (children.empty() || children.back() != child) children.push_back(std::move(child));
  }
  for (const std::string& child : children) clean_below(map, child);
}

}  // namespace

void DeviceMap::set(std::string path, DeviceKey device) {
  for (Entry& entry : entries_) {
    if (entry.first == path) {
      entry.second = device;
      return;
    }
  }
  entries_.emplace_back(std::move(path), device);
}

std::optional<DeviceKey> DeviceMap::find(std::string_view path) const {
  for (const auto& [key, device] : entries_) {
    if (key == path) return device;
  }
  return std::nullopt;
}

std::optional<DeviceKey> DeviceMap::device_of(std::string_view path) const {
  std::optional<DeviceKey> best;
  std::size_t best_length = 0;
  for (const auto& [key, device] : entries_) {
    const bool covers =
        key.empty() || path == key ||
        (path.size() > key.size() && path.starts_with(key) && path[key.size()] == '.');
    if (covers && (!best || key.size() >= best_length)) {
      best = device;
      best_length = key.size();
    }
  }
  return best;
}

std::vector<std::optional<DeviceKey>> devices_of(const DeviceMap& map, const PlanTree& tree) {
  std::vector<std::optional<DeviceKey>> devices(static_cast<std::size_t>(tree.size()));
  for (const auto& [path, device] : map) {
    const NodeId id = tree.find(path);
    if (id >= 0) devices[static_cast<std::size_t>(id)] = device;
  }
  // Parents come first, so what is still open takes its parent's device.
  for (NodeId id = 1; id < tree.size(); ++id) {
    auto& device = devices[static_cast<std::size_t>(id)];
    if (!device) device = devices[static_cast<std::size_t>(tree.node(id).parent)];
  }
  return devices;
}

DeviceMap clean_device_map(const DeviceMap& map) {
  SortedMap sorted;
  for (const auto& [path, device] : map) sorted[path] = device;
  clean_below(sorted, "");
  std::vector<DeviceMap::Entry> entries(sorted.begin(), sorted.end());
  return DeviceMap(std::move(entries));
}

MapCheck check_device_map(const DeviceMap& map, const PlanTree& tree) {
  MapCheck check;
  for (const auto& [path, device] : map) {
    const NodeId id = tree.find(path);
    if (id < 0 || !tree.node(id).is_module()) check.unknown_keys.push_back(path);
  }
  const auto devices = devices_of(map, tree);
  for (NodeId id = 0; id < tree.size(); ++id) {
    const PlanNode& node = tree.node(id);
    if (node.is_module() || !node.persistent) continue;
    if (!devices[static_cast<std::size_t>(id)]) check.uncovered.push_back(node.path);
  }
  return check;
}

}  // namespace shoehorn
