#include "plan/cost_model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

DeviceUse& use_of(Plan& plan, DeviceKey device) {
  return *std::ranges::find(plan.devices, device, &DeviceUse::device);
}

}  // namespace

std::size_t WeightCost::bytes_on(DeviceKey device) const {
  const auto tier = tiers.find(device);
  return tier == tiers.end() ? resident_bytes : tier->second.resident_bytes;
}

ProductTimes WeightCost::times_on(DeviceKey device) const {
  const auto tier = tiers.find(device);
  return tier == tiers.end() ? times : tier->second.times;
}

const std::string& WeightCost::form_on(DeviceKey device) const {
  const auto tier = tiers.find(device);
  return tier == tiers.end() ? form : tier->second.form;
}

CostModel::CostModel(const PlanInput& input) : input_(&input), tree_(*input.tree) {
  const auto nodes = static_cast<std::size_t>(tree_.size());
  std::vector<int> layer_of_node(nodes, -1);
  for (std::size_t layer = 0; layer < input.layer_paths.size(); ++layer) {
    const NodeId id = tree_.find(input.layer_paths[layer]);
    if (id < 0 || !tree_.node(id).is_module()) {
      throw ArgumentError(
          str_cat("plan: layer ", input.layer_paths[layer], " is no module of the tree"));
    }
    std::fill(layer_of_node.begin() + id, layer_of_node.begin() + tree_.node(id).end,
              static_cast<int>(layer));
    layer_nodes_.push_back(id);
  }
  if (!input.kv_bytes_per_layer.empty() &&
      input.kv_bytes_per_layer.size() != input.layer_paths.size()) {
    throw ArgumentError(str_cat("plan: ", input.kv_bytes_per_layer.size(), " KV cache sizes for ",
                                input.layer_paths.size(), " layers"));
  }
  if (input.staging_slots < 1 || input.min_staging_slots < 1) {
    throw ArgumentError("plan: streaming needs at least one staging slot");
  }

  std::vector<int> weight_of_storage(nodes, -1);
  for (std::size_t w = 0; w < input.weights.size(); ++w) {
    const NodeId id = tree_.find(input.weights[w].path);
    if (id < 0 || tree_.node(id).is_module()) {
      throw ArgumentError(
          str_cat("plan: ", input.weights[w].path, " has a cost but is no tensor of the tree"));
    }
    layer_of_.push_back(layer_of_node[static_cast<std::size_t>(id)]);
    module_of_.push_back(tree_.node(id).parent);
    int& first = weight_of_storage[static_cast<std::size_t>(tree_.node(id).storage)];
    counts_.push_back(first < 0);
    if (first < 0) first = static_cast<int>(w);
  }
  weight_of_.assign(nodes, -1);
  for (NodeId id = 0; id < tree_.size(); ++id) {
    weight_of_[static_cast<std::size_t>(id)] =
        weight_of_storage[static_cast<std::size_t>(tree_.node(id).storage)];
  }
}

std::size_t CostModel::reserve(DeviceKey device) const {
  const auto found = input_->devices.find(device);
  if (!device.is_cpu() || found == input_->devices.end()) return 0;
  const double share = input_->reserve_fraction * static_cast<double>(found->second.limit_bytes);
  return static_cast<std::size_t>(std::ceil(share)) + input_->reserve_bytes;
}

Plan CostModel::account(const Assignment& assignment, StreamUnit unit, int staging_slots) const {
  Plan plan;
  for (const auto& [device, spec] : input_->devices) {
    plan.devices.push_back({.device = device,
                            .limit_bytes = spec.limit_bytes,
                            .process = device.is_cpu() ? spec.process_bytes : 0,
                            .reserve = reserve(device)});
  }
  if (!input_->devices.contains(DeviceKey::cpu())) {
    plan.devices.push_back({.device = DeviceKey::cpu()});
  }
  plan.devices.push_back({.device = DeviceKey::disk()});

  place_weights(assignment, plan);
  place_layers(assignment, plan);
  group_streams(assignment, unit, staging_slots, plan);

  // A device needs its workspace and its context once something is computed on it.
  for (DeviceUse& use : plan.devices) {
    const auto spec = input_->devices.find(use.device);
    if (spec == input_->devices.end()) continue;
    if (!use.device.is_cpu() && use.used() == 0) continue;
    use.workspace = spec->second.workspace_bytes;
    use.process = spec->second.process_bytes;
    use.staging += spec->second.link_staging_bytes;
  }
  DeviceUse& cpu = use_of(plan, DeviceKey::cpu());
  for (const DeviceUse& use : plan.devices) {
    if (!input_->devices.contains(DeviceKey::cpu())) break;
    const auto spec = input_->devices.find(use.device);
    if (spec == input_->devices.end() || use.device.is_cpu() || !spec->second.host_memory) continue;
    cpu.host_backed += use.used();
  }
  for (const DeviceUse& use : plan.devices) {
    plan.kv_cache_bytes += use.kv_cache;
    plan.workspace_bytes += use.workspace;
    plan.staging_bytes += use.staging;
  }
  predict(assignment, plan);
  return plan;
}

void CostModel::place_weights(const Assignment& assignment, Plan& plan) const {
  for (std::size_t w = 0; w < input_->weights.size(); ++w) {
    if (!counts(w)) continue;
    const WeightCost& cost = input_->weights[w];
    const std::size_t bytes = cost.bytes_on(assignment[w]);
    plan.footprint_bytes += bytes;
    DeviceUse& use = use_of(plan, assignment[w]);
    use.weights += use.device.is_disk() && !cost.rows_only ? cost.streamed_bytes : bytes;
    if (use.device.is_disk()) plan.streamed_bytes_per_token += cost.streamed_bytes;
  }
}

// A layer is computed where most of its resident bytes are, and its KV cache lives there.
void CostModel::place_layers(const Assignment& assignment, Plan& plan) const {
  std::vector<std::map<DeviceKey, std::size_t>> bytes(input_->layer_paths.size());
  for (std::size_t w = 0; w < input_->weights.size(); ++w) {
    if (layer_of(w) < 0 || !counts(w) || assignment[w].is_disk()) continue;
    bytes[static_cast<std::size_t>(layer_of(w))][assignment[w]] +=
        input_->weights[w].bytes_on(assignment[w]);
  }
  for (std::size_t layer = 0; layer < bytes.size(); ++layer) {
    DeviceKey best = DeviceKey::cpu();
    std::size_t most = 0;
    for (const auto& [device, resident] : bytes[layer]) {
      if (resident > most) {
        best = device;
        most = resident;
      }
    }
    plan.layer_devices.push_back(best);
    if (!input_->kv_bytes_per_layer.empty()) {
      use_of(plan, best).kv_cache += input_->kv_bytes_per_layer[layer];
    }
  }
}

void CostModel::group_streams(const Assignment& assignment, StreamUnit unit, int slots,
                              Plan& plan) const {
  std::map<std::pair<bool, int>, std::size_t> group_at;  // (is a layer, layer or module) → index
  for (std::size_t w = 0; w < input_->weights.size(); ++w) {
    const WeightCost& cost = input_->weights[w];
    if (!assignment[w].is_disk() || cost.rows_only || !counts(w)) continue;
    const bool by_layer = unit == StreamUnit::kLayer && layer_of(w) >= 0;
    const std::pair key(by_layer, by_layer ? layer_of(w) : module_of(w));
    const auto [at, is_new] = group_at.emplace(key, plan.stream_groups.size());
    if (is_new) {
      plan.stream_groups.push_back(
          {.path = by_layer ? input_->layer_paths[static_cast<std::size_t>(layer_of(w))]
                            : tree_.node(module_of(w)).path});
    }
    StreamGroup& group = plan.stream_groups[at->second];
    group.weights.push_back(w);
    group.streamed_bytes += cost.streamed_bytes;
    group.slot_bytes += cost.staging_bytes;
  }
  if (plan.stream_groups.empty()) return;
  std::size_t slot = 0;
  for (const StreamGroup& group : plan.stream_groups) slot = std::max(slot, group.slot_bytes);
  plan.staging_slots = std::min(slots, static_cast<int>(plan.stream_groups.size()));
  use_of(plan, DeviceKey::cpu()).staging = slot * static_cast<std::size_t>(plan.staging_slots);
}

std::vector<std::string> CostModel::broken_limits(const Plan& plan) const {
  std::vector<std::string> broken;
  for (const DeviceUse& use : plan.devices) {
    if (use.device.is_disk() || use.total() <= use.limit_bytes) continue;
    if (!input_->devices.contains(use.device) && use.used() == 0) continue;
    broken.push_back(str_cat(
        "device ", to_string(use.device), " needs ", use.total(), " bytes (weights ", use.weights,
        ", KV cache ", use.kv_cache, ", workspace ", use.workspace, ", staging ", use.staging,
        ", process ", use.process,
        use.host_backed > 0 ? str_cat(", virtual devices ", use.host_backed) : std::string(),
        ", reserve ", use.reserve, ") and has ", use.limit_bytes));
  }
  return broken;
}

}  // namespace shoehorn
