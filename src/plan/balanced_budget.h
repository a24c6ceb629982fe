// Budgets for the balanced strategies: get_balanced_memory of accelerate and of transformers. Every
// accelerator but the last is cut down to an even share of the model plus some slack, so that the
// model spreads instead of filling the first one.
#pragma once

#include "plan/budget.h"
#include "plan/largest_layer.h"
#include "plan/module_sizes.h"
#include "plan/plan_tree.h"

namespace shoehorn {

struct BalanceOptions {
  bool low_zero = false;         // balanced_low_0: leave as much of accelerator 0 as possible free
  bool budget_was_given = true;  // a budget that was detected keeps 10 % of a lone accelerator free
};

/// accelerate: slack = trunc(1.25 × max(first instance of each class in `no_split`, mean of the
/// modules that own tensors and have no children)).
/// Throws ReferenceCrash where accelerate does: a "disk" key; low_zero without accelerators 0..n-1.
Budget accelerate_balanced_budget(const PlanTree& tree, const ModuleSizes& sizes, Budget budget,
                                  const ClassNames& no_split, const BalanceOptions& options);

/// transformers: slack = trunc(1.25 × max(largest instance of any class in `no_split`, largest sum
/// of the tensors one module owns directly)).
/// Throws ReferenceCrash where transformers does: no module of a class in a `no_split` that is not
/// empty; low_zero without accelerators 0..n-1.
Budget transformers_balanced_budget(const PlanTree& tree, const ModuleSizes& sizes, Budget budget,
                                    const ClassNames& no_split, const BalanceOptions& options);

}  // namespace shoehorn
