#include "plan/reference_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {

Strategy strategy_from_name(std::string_view name) {
  if (name == "auto") return Strategy::kAuto;
  if (name == "balanced") return Strategy::kBalanced;
  if (name == "balanced_low_0") return Strategy::kBalancedLow0;
  if (name == "sequential") return Strategy::kSequential;
  throw ArgumentError(str_cat("device_map: \"", name.substr(0, 60),
                              "\" is not a strategy: expected auto, balanced, balanced_low_0 or "
                              "sequential"));
}

std::vector<std::string> split_ties(const DeviceMap& map, const PlanTree& tree) {
  std::vector<std::string> split;
  if (tree.tied_groups().empty()) return split;
  const auto devices = devices_of(map, tree);
  for (const auto& group : tree.tied_groups()) {
    std::set<std::optional<DeviceKey>> places;
    for (const NodeId id : group) places.insert(devices[static_cast<std::size_t>(id)]);
    if (places.size() < 2) continue;
    for (const NodeId id : group) split.push_back(tree.node(id).path);
  }
  return split;
}

ReferencePlan finish_reference_plan(const PlanTree& tree, FillResult fill, bool clean_result) {
  std::vector<DeviceMap::Entry> entries;
  entries.reserve(fill.placements.size());
  for (const auto& [node, device] : fill.placements) {
    entries.emplace_back(tree.node(node).path, device);
  }
  ReferencePlan plan;
  plan.device_map = DeviceMap(std::move(entries));
  if (clean_result) plan.device_map = clean_device_map(plan.device_map);
  plan.uncovered = check_device_map(plan.device_map, tree).uncovered;
  for (const std::string& path : plan.uncovered) {
    const NodeId module = tree.node(tree.find(path)).parent;
    const auto first = std::ranges::find_if(fill.placements, [&](const Placement& placement) {
      return tree.contains(module, placement.node);
    });
    if (first != fill.placements.end()) plan.device_map.set(path, first->device);
  }
  plan.fill = std::move(fill);
  return plan;
}

}  // namespace shoehorn
