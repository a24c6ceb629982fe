// A planning case for the default planner: its budget, and no cost but the weights.
#pragma once

#include <map>
#include <vector>

#include "plan/case_json.h"
#include "plan/plan.h"
#include "plan/plan_tree.h"

namespace shoehorn {

struct ShoehornCasePlan {
  Plan plan;
  std::map<DeviceKey, std::size_t> budget;
  std::vector<std::size_t> bytes_of;  // by node: what is counted below it; tied tensors once
};

/// Devices without an entry in max_memory do not exist. Sizes are what is really stored: a bool is
/// a byte, `dtype` may widen. Modules whose class is in no_split are the layers and stay whole. Of
/// detected memory nine tenths are used. Throws ArgumentError and PlanError.
ShoehornCasePlan plan_case_shoehorn(const PlanCase& plan_case, const PlanTree& tree);

}  // namespace shoehorn
