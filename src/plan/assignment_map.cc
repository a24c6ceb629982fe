#include "plan/assignment_map.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shoehorn {
namespace {

class MapWriter {
 public:
  MapWriter(const CostModel& model, const Assignment& assignment);

  DeviceMap write() {
    emit(0, std::nullopt);
    return DeviceMap(std::move(entries_));
  }

 private:
  /// What is known of the weights at and below a node.
  struct Below {
    bool any_tensor = false;
    bool any_weight = false;
    bool mixed = false;
    DeviceKey device;  // of all of them, unless mixed
  };

  void emit(NodeId id, std::optional<DeviceKey> inherited);
  void emit_mixed(NodeId id, std::optional<DeviceKey> inherited);
  std::optional<DeviceKey> device_of_direct_tensors(const PlanNode& node) const;
  DeviceKey dominant_device(NodeId id) const;
  Below& below(NodeId id) { return below_[static_cast<std::size_t>(id)]; }
  const Below& below(NodeId id) const { return below_[static_cast<std::size_t>(id)]; }

  const CostModel& model_;
  const PlanTree& tree_;
  const Assignment& assignment_;
  std::vector<Below> below_;
  std::vector<bool> in_layer_;
  DeviceKey for_the_rest_;  // tensors without a cost, where no module says more
  std::vector<DeviceMap::Entry> entries_;
};

MapWriter::MapWriter(const CostModel& model, const Assignment& assignment)
    : model_(model),
      tree_(model.tree()),
      assignment_(assignment),
      below_(static_cast<std::size_t>(tree_.size())),
      in_layer_(static_cast<std::size_t>(tree_.size()), false) {
  const auto& devices = model.input().devices;
  for_the_rest_ = devices.contains(DeviceKey::cpu()) ? DeviceKey::cpu()
                  : devices.empty()                  ? DeviceKey::disk()
                                                     : devices.begin()->first;
  for (const std::string& path : model.input().layer_paths) {
    const NodeId layer = tree_.find(path);
    std::fill(in_layer_.begin() + layer, in_layer_.begin() + tree_.node(layer).end, true);
  }
  // Children have higher ids than their parents, so backwards is bottom-up.
  for (NodeId id = tree_.size() - 1; id >= 0; --id) {
    Below& own = below(id);
    if (!tree_.node(id).is_module()) {
      own.any_tensor = true;
      const int weight = model.weight_of(id);
      if (weight >= 0) {
        own.any_weight = true;
        own.device = assignment[static_cast<std::size_t>(weight)];
      }
    }
    if (id == 0) break;
    Below& parent = below(tree_.node(id).parent);
    parent.any_tensor = parent.any_tensor || own.any_tensor;
    if (!own.any_weight) continue;
    parent.mixed = parent.mixed || own.mixed || (parent.any_weight && parent.device != own.device);
    parent.any_weight = true;
    parent.device = own.device;
  }
}

void MapWriter::emit(NodeId id, std::optional<DeviceKey> inherited) {
  const Below& own = below(id);
  if (own.mixed) return emit_mixed(id, inherited);
  if (!own.any_weight && id != 0 && (!own.any_tensor || inherited)) return;
  const DeviceKey device = own.any_weight ? own.device : for_the_rest_;
  if (device != inherited) entries_.emplace_back(tree_.node(id).path, device);
}

void MapWriter::emit_mixed(NodeId id, std::optional<DeviceKey> inherited) {
  const PlanNode& node = tree_.node(id);
  const std::optional<DeviceKey> own = in_layer_[static_cast<std::size_t>(id)]
                                           ? dominant_device(id)
                                           : device_of_direct_tensors(node);
  if (own && own != inherited) entries_.emplace_back(node.path, *own);
  if (own) inherited = own;
  for (const auto* part : {&node.parameters, &node.buffers, &node.children}) {
    for (const NodeId child : *part) emit(child, inherited);
  }
}

std::optional<DeviceKey> MapWriter::device_of_direct_tensors(const PlanNode& node) const {
  std::optional<DeviceKey> device;
  for (const auto* tensors : {&node.parameters, &node.buffers}) {
    for (const NodeId id : *tensors) {
      if (!below(id).any_weight) continue;
      if (device && *device != below(id).device) return std::nullopt;
      device = below(id).device;
    }
  }
  return device;
}

DeviceKey MapWriter::dominant_device(NodeId id) const {
  std::map<DeviceKey, std::size_t> bytes;
  for (NodeId t = id; t < tree_.node(id).end; ++t) {
    const int weight = tree_.node(t).is_module() ? -1 : model_.weight_of(t);
    if (weight < 0) continue;
    const auto w = static_cast<std::size_t>(weight);
    bytes[assignment_[w]] += model_.input().weights[w].bytes_on(assignment_[w]) + 1;
  }
  return std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; })->first;
}

}  // namespace

DeviceMap assignment_map(const CostModel& model, const Assignment& assignment) {
  return MapWriter(model, assignment).write();
}

}  // namespace shoehorn
