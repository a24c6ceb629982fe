// `plan --svg`: a picture of a plan for reports. A column for every device shows what fills it up
// to its limit; below, a band shows the modules in order of execution in the colour of their
// device.
#pragma once

#include <string>

#include "plan/plan.h"

namespace shoehorn {

/// A complete SVG document without external references. `title` is free text, such as the model's
/// name.
std::string plan_svg(const PlanInput& input, const Plan& plan, const std::string& title);

}  // namespace shoehorn
