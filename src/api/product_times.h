// What multiplying each weight takes on this machine's CPU, measured, for a plan's predictions.
#pragma once

#include "api/prepare.h"

namespace shoehorn {

/// Fills the times of the weights of `input`, in every form that they have somewhere, and the cost
/// of a layer beside them.
void measure_products(const OpenedModel& opened, const RunShape& shape, const TierForms& tiers,
                      PlanInput& input);

}  // namespace shoehorn
