#include "plan/planner_transformers.h"

#include <utility>

#include "plan/balanced_budget.h"

namespace shoehorn {
namespace {

// Of memory that was detected, not given, the CPU gives nine tenths.
constexpr double kDetectedCpuShare = 0.9;

}  // namespace

ReferencePlan plan_transformers(const PlanTree& tree, const ReferenceRequest& request) {
  Budget budget = reference_budget(request.max_memory ? *request.max_memory : request.detected);
  SizeOptions size_options = request.sizes;
  size_options.flavour = Flavour::kTransformers;
  size_options.dtype.reset();
  size_options.special_dtypes.clear();
  const ModuleSizes sizes(tree, size_options);
  if (request.strategy != Strategy::kSequential) {
    budget = transformers_balanced_budget(tree, sizes, std::move(budget), request.no_split,
                                          {.low_zero = request.strategy == Strategy::kBalancedLow0,
                                           .budget_was_given = request.max_memory.has_value()});
  }
  const auto cpu = budget.find(DeviceKey::cpu());
  if (!request.max_memory && cpu != budget.end()) {
    cpu->second = cpu->second * PyNumber{kDetectedCpuShare, true};
  }
  if (request.quantizer_share) {
    for (auto& [device, bytes] : budget) bytes = bytes * PyNumber{*request.quantizer_share, true};
  }
  FillResult fill =
      fill_devices(tree, sizes, budget, request.no_split, {.flavour = Flavour::kTransformers});
  ReferencePlan plan = finish_reference_plan(tree, std::move(fill), request.clean_result);
  plan.budget = std::move(budget);
  plan.total_bytes = sizes.total().value;
  return plan;
}

}  // namespace shoehorn
