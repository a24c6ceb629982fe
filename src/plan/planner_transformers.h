// The planner of transformers 5: from_pretrained(device_map="auto"). accelerate's algorithm with
// real element sizes, another slack, and modules that are opened whenever they do not fit.
#pragma once

#include "plan/plan_tree.h"
#include "plan/reference_plan.h"

namespace shoehorn {

/// `auto` means `balanced`. `sizes.dtype`, `sizes.special_dtypes`, `offload_buffers` (transformers
/// plans as if it were false) and `fallback_allocation` have no effect here. Throws ArgumentError
/// for bad devices and sizes, ReferenceCrash where transformers itself crashes.
ReferencePlan plan_transformers(const PlanTree& tree, const ReferenceRequest& request);

}  // namespace shoehorn
