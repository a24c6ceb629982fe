// The account of a placement: given the device of every weight, the bytes each device holds and the
// time a pass takes. The search compares placements by it, and nothing else decides whether one is
// valid.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "plan/plan_tree.h"

namespace shoehorn {

/// A device for every entry of PlanInput::weights.
using Assignment = std::vector<DeviceKey>;

/// A plan input with its names resolved. Borrows the input, which must outlive it.
class CostModel {
 public:
  /// Throws ArgumentError for costs of tensors or layers that the tree does not have.
  explicit CostModel(const PlanInput& input);

  const PlanInput& input() const { return *input_; }
  const PlanTree& tree() const { return tree_; }

  /// Position in layer_paths of the layer a weight belongs to, or -1.
  int layer_of(std::size_t weight) const { return layer_of_[weight]; }
  /// The module that owns the weight.
  NodeId module_of(std::size_t weight) const { return module_of_[weight]; }
  /// The weight stored under this node or under a name tied to it, or -1.
  int weight_of(NodeId tensor) const { return weight_of_[static_cast<std::size_t>(tensor)]; }
  /// The first of tied weights counts; the others cost nothing.
  bool counts(std::size_t weight) const { return counts_[weight]; }

  /// What is kept free inside the limit of a device.
  std::size_t reserve(DeviceKey device) const;

  /// Fills everything of a Plan but device_map and notes.
  Plan account(const Assignment& assignment, StreamUnit unit, int staging_slots) const;

  /// What breaks its limit: one sentence a device, empty if the plan is valid.
  std::vector<std::string> broken_limits(const Plan& plan) const;

 private:
  void place_weights(const Assignment& assignment, Plan& plan) const;
  void place_layers(const Assignment& assignment, Plan& plan) const;
  void group_streams(const Assignment& assignment, StreamUnit unit, int slots, Plan& plan) const;
  void predict(const Assignment& assignment, Plan& plan) const;
  void list_steps(const Assignment& assignment, Plan& plan) const;
  void add_attention(PlanStep& step) const;
  bool in_host_memory(DeviceKey device) const;
  DeviceKey computed_on(std::size_t weight, DeviceKey device, const Plan& plan) const;
  DeviceRates rates_of(DeviceKey device) const;

  const PlanInput* input_;
  PlanTree tree_;
  std::vector<NodeId> layer_nodes_;  // of input.layer_paths
  std::vector<int> layer_of_;
  std::vector<NodeId> module_of_;
  std::vector<bool> counts_;
  std::vector<int> weight_of_;
};

}  // namespace shoehorn
