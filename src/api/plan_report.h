// A prepared model's plan, as people and scripts read it.
#pragma once

#include <string>

#include "api/prepare.h"

namespace shoehorn {

std::string plan_report_text(const PreparedModel& prepared, bool unicode);
std::string plan_report_json(const PreparedModel& prepared);
std::string plan_report_svg(const PreparedModel& prepared);

}  // namespace shoehorn
