#include "plan/planner_accelerate.h"

#include <utility>

#include "plan/balanced_budget.h"

namespace shoehorn {

ReferencePlan plan_accelerate(const PlanTree& tree, const ReferenceRequest& request) {
  Budget budget = reference_budget(request.max_memory ? *request.max_memory : request.detected);
  SizeOptions size_options = request.sizes;
  size_options.flavour = Flavour::kAccelerate;
  const ModuleSizes sizes(tree, size_options);
  if (request.strategy != Strategy::kSequential) {
    budget = accelerate_balanced_budget(tree, sizes, std::move(budget), request.no_split,
                                        {.low_zero = request.strategy == Strategy::kBalancedLow0,
                                         .budget_was_given = request.max_memory.has_value()});
  }
  FillResult fill = fill_devices(tree, sizes, budget, request.no_split,
                                 {.flavour = Flavour::kAccelerate,
                                  .offload_buffers = request.offload_buffers,
                                  .fallback_allocation = request.fallback_allocation});
  ReferencePlan plan = finish_reference_plan(tree, std::move(fill), request.clean_result);
  plan.budget = std::move(budget);
  plan.total_bytes = sizes.total().value;
  return plan;
}

}  // namespace shoehorn
