// accelerate's planner, decision by decision: infer_auto_device_map with its budgets and sizes, as
// load_checkpoint_and_dispatch(device_map="auto") uses them (accelerate 1.15).
#pragma once

#include "plan/plan_tree.h"
#include "plan/reference_plan.h"

namespace shoehorn {

/// `auto` means `balanced`. Throws ArgumentError for bad devices, sizes and dtypes, ReferenceCrash
/// where accelerate itself crashes.
ReferencePlan plan_accelerate(const PlanTree& tree, const ReferenceRequest& request);

}  // namespace shoehorn
