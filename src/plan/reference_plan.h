// What the two reference planners take and return.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/budget.h"
#include "plan/device_map.h"
#include "plan/largest_layer.h"
#include "plan/module_sizes.h"
#include "plan/reference_fill.h"

namespace shoehorn {

/// The strategies of `device_map`.
enum class Strategy { kAuto, kBalanced, kBalancedLow0, kSequential };

/// Throws ArgumentError for any other text than auto, balanced, balanced_low_0, sequential.
Strategy strategy_from_name(std::string_view name);

struct ReferenceRequest {
  Strategy strategy = Strategy::kAuto;
  /// Nothing given: `detected` is used, and the margins of the original apply.
  std::optional<MaxMemory> max_memory = {};
  MaxMemory detected = {};
  ClassNames no_split = {};
  SizeOptions sizes = {};  // its flavour is set by the planner
  bool offload_buffers = false;
  bool fallback_allocation = false;  // accelerate only
  bool clean_result = true;
  /// transformers: what a quantizer leaves of every budget entry, 0.9 for bitsandbytes.
  std::optional<double> quantizer_share = {};
};

struct ReferencePlan {
  /// Covers every parameter and persistent buffer: the original's map, and a key for each tensor
  /// that the original forgets.
  DeviceMap device_map;
  /// Those tensors: persistent buffers owned directly by a module that was split. They get the
  /// device of the module's first placed part.
  std::vector<std::string> uncovered;
  Budget budget;  // as handed to the filling step
  double total_bytes = 0;
  FillResult fill;
};

/// Names tied tensors that a map puts on different devices; empty where there are none.
std::vector<std::string> split_ties(const DeviceMap& map, const PlanTree& tree);

/// From a filled result to a plan: clean-up, and keys for what was left uncovered.
ReferencePlan finish_reference_plan(const PlanTree& tree, FillResult fill, bool clean_result);

}  // namespace shoehorn
