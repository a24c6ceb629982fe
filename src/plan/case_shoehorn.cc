#include "plan/case_shoehorn.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "plan/dtype_bytes.h"
#include "plan/planner_shoehorn.h"

namespace shoehorn {
namespace {

constexpr double kDetectedShare = 0.9;

double element_bytes(const PlanNode& node, const SizeOptions& options) {
  if (const auto quantized = options.element_size.find(node.path);
      quantized != options.element_size.end()) {
    return quantized->second.value;
  }
  const auto size_of = [](const std::string& dtype) {
    return dtype.starts_with("custom:") ? accelerate_dtype_bytes(dtype).value
                                        : torch_element_size(dtype).value;
  };
  if (const auto special = options.special_dtypes.find(node.path);
      special != options.special_dtypes.end()) {
    return size_of(special->second);
  }
  const auto named = options.own_dtypes.find(node.path);
  const std::string own =
      named != options.own_dtypes.end() ? named->second : planner_dtype_name(node.dtype);
  return size_of(options.dtype && !keeps_its_dtype(own) ? *options.dtype : own);
}

}  // namespace

ShoehornCasePlan plan_case_shoehorn(const PlanCase& plan_case, const PlanTree& tree) {
  const ReferenceRequest& request = plan_case.request;
  ShoehornCasePlan result;
  result.budget = parse_max_memory(request.max_memory ? *request.max_memory : request.detected, {});
  result.bytes_of.assign(static_cast<std::size_t>(tree.size()), 0);

  PlanInput input;
  input.tree = &plan_case.tree;
  input.strategy = strategy_from_name(plan_case.strategy);
  input.split_layers = false;
  input.reserve_fraction = 0;
  input.reserve_bytes = 0;
  for (auto& [device, bytes] : result.budget) {
    if (!request.max_memory) {
      bytes = static_cast<std::size_t>(static_cast<double>(bytes) * kDetectedShare);
    }
    if (!device.is_disk()) input.devices[device] = {.limit_bytes = bytes};
  }
  NodeId in_layer_until = 0;
  for (NodeId id = 0; id < tree.size(); ++id) {
    const PlanNode& node = tree.node(id);
    if (node.is_module()) {
      if (id > 0 && id >= in_layer_until && request.no_split.contains(node.class_name)) {
        input.layer_paths.push_back(node.path);
        in_layer_until = node.end;
      }
      continue;
    }
    if (node.storage != id) continue;  // the second name of a tied tensor
    const double size = std::ceil(node.elements * element_bytes(node, request.sizes));
    if (size >= 0x1p50) throw ArgumentError(str_cat(node.path, ": ", size, " bytes"));
    const auto bytes = static_cast<std::size_t>(size);
    input.weights.push_back({.path = node.path, .resident_bytes = bytes, .streamed_bytes = bytes});
    for (NodeId above = id; above >= 0; above = tree.node(above).parent) {
      result.bytes_of[static_cast<std::size_t>(above)] += bytes;
    }
  }
  result.plan = plan_shoehorn(input);
  return result;
}

}  // namespace shoehorn
