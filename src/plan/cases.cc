#include "plan/cases.h"

#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "plan/case_json.h"
#include "plan/case_shoehorn.h"
#include "plan/custom_map.h"
#include "plan/planner_accelerate.h"
#include "plan/planner_transformers.h"
#include "plan/reference_error.h"

namespace shoehorn {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(PyNumber number) {
  if (number.is_float || number.value > 0x1p53 || number.value < -0x1p53) return number.value;
  return static_cast<std::int64_t>(number.value);
}

Json to_json(DeviceKey device) {
  if (device.is_accelerator()) return device.index;
  return to_string(device);
}

Json to_json(const DeviceMap& map) {
  Json json = Json::object();
  for (const auto& [path, device] : map) json[path] = to_json(device);
  return json;
}

Json module_sizes_json(const PlanTree& tree, const ModuleSizes& sizes) {
  Json json = Json::object();
  for (const NodeId id : sizes.order()) {
    if (tree.node(id).is_module()) json[tree.node(id).path] = to_json(sizes.at(id));
  }
  return json;
}

Json error_json(const char* type, const char* kind, const std::string& message) {
  return {{"type", type}, {"kind", kind}, {"message", message}};
}

// The libraries look at paths only and take any device, so devices pass through as written: each
// entry of the map stands for its own value.
void check_custom(const PlanCase& c, const PlanTree& tree, Json& out) {
  std::vector<DeviceMap::Entry> entries;
  for (const auto& [path, device] : c.device_map) {
    entries.emplace_back(path, DeviceKey::accelerator(static_cast<int>(entries.size())));
  }
  const DeviceMap map(std::move(entries));
  const MapCheck check = check_device_map(map, tree);
  if (!check.unknown_keys.empty()) out["warn_unknown_keys"] = check.unknown_keys;
  if (!check.uncovered.empty()) {
    std::string list;
    for (const std::string& path : check.uncovered) list += (list.empty() ? "" : ", ") + path;
    out["error"] = error_json("ValueError", "user",
                              "device_map gives no device to " + list.substr(0, 2000) +
                                  ": add these names, a module above them, or \"\" for all");
    out["error"]["uncovered"] = check.uncovered;
    return;
  }
  const auto devices = devices_of(map, tree);
  Json tensors = Json::object();
  for (NodeId id = 0; id < tree.size(); ++id) {
    const PlanNode& node = tree.node(id);
    if (node.is_module() || !node.persistent) continue;
    const auto entry = static_cast<std::size_t>(devices[static_cast<std::size_t>(id)]->index);
    std::visit([&](const auto& device) { tensors[node.path] = device; },
               c.device_map[entry].second);
  }
  out["ok"] = true;
  out["tensor_devices"] = std::move(tensors);
}

void plan_reference(const PlanCase& c, const PlanTree& tree, Flavour flavour, Json& out) {
  ReferenceRequest request = c.request;
  request.strategy = strategy_from_name(c.strategy);
  const ReferencePlan plan = flavour == Flavour::kAccelerate ? plan_accelerate(tree, request)
                                                             : plan_transformers(tree, request);
  request.sizes.flavour = flavour;
  const ModuleSizes sizes(tree, request.sizes);
  out["map"] = to_json(plan.device_map);
  out["budget"] = Json::object();
  for (const auto& [device, bytes] : plan.budget) out["budget"][to_string(device)] = to_json(bytes);
  out["total_bytes"] = to_json(sizes.total());
  out["module_sizes"] = module_sizes_json(tree, sizes);
  out["warn_buffers"] = plan.fill.warn_buffers;
  if (!plan.uncovered.empty()) out["uncovered"] = plan.uncovered;
}

void plan_default(const PlanCase& c, const PlanTree& tree, Json& out) {
  const ShoehornCasePlan planned = plan_case_shoehorn(c, tree);
  out["map"] = to_json(planned.plan.device_map);
  out["budget"] = Json::object();
  for (const auto& [device, bytes] : planned.budget) out["budget"][to_string(device)] = bytes;
  out["total_bytes"] = planned.bytes_of[0];
  out["module_sizes"] = Json::object();
  out["bytes"] = Json::object();
  for (NodeId id = 0; id < tree.size(); ++id) {
    const std::size_t bytes = planned.bytes_of[static_cast<std::size_t>(id)];
    if (tree.node(id).is_module() && bytes > 0) out["module_sizes"][tree.node(id).path] = bytes;
  }
  for (const DeviceUse& use : planned.plan.devices) {
    if (use.weights > 0) out["bytes"][to_string(use.device)] = use.weights;
  }
  out["warn_buffers"] = false;  // buffers are placed with their modules
}

// The stricter check of real runs, for a machine with any number of accelerators.
void check_custom_default(const PlanCase& c, const PlanTree& tree, Json& out) {
  const DeviceMap map = check_written_map(c.device_map, tree, {.any_accelerator = true});
  const auto devices = devices_of(map, tree);
  out["ok"] = true;
  out["tensor_devices"] = Json::object();
  for (NodeId id = 0; id < tree.size(); ++id) {
    const PlanNode& node = tree.node(id);
    if (node.is_module() || !node.persistent) continue;
    out["tensor_devices"][node.path] = to_json(*devices[static_cast<std::size_t>(id)]);
  }
}

void plan_case(const PlanCase& c, Json& out) {
  const PlanTree tree(c.tree);
  if (c.flavour != "accelerate" && c.flavour != "transformers" && c.flavour != "shoehorn") {
    throw ArgumentError(str_cat("flavour \"", c.flavour.substr(0, 60),
                                "\": expected accelerate, transformers or shoehorn"));
  }
  const bool is_default = c.flavour == "shoehorn";
  if (c.strategy == "custom") {
    (is_default ? check_custom_default : check_custom)(c, tree, out);
  } else if (is_default) {
    plan_default(c, tree, out);
  } else {
    plan_reference(c, tree,
                   c.flavour == "accelerate" ? Flavour::kAccelerate : Flavour::kTransformers, out);
  }
}

}  // namespace

std::string plan_cases_json(std::string_view cases_json) {
  Json results = Json::array();
  for (const PlanCase& c : parse_plan_cases(cases_json)) {
    Json out = {{"name", c.name}};
    try {
      plan_case(c, out);
    } catch (const ReferenceCrash& error) {
      out["error"] = error_json(error.python_type().c_str(), "crash", error.what());
    } catch (const PlanError& error) {
      out["error"] = error_json("PlanError", "user", error.what());
    } catch (const ArgumentError& error) {
      out["error"] = error_json("ValueError", "user", error.what());
    } catch (const FormatError& error) {
      throw FormatError(str_cat("case \"", c.name.substr(0, 80), "\": ", error.what()));
    }
    results.push_back(std::move(out));
  }
  return results.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace shoehorn
