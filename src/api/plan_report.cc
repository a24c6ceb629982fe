#include "api/plan_report.h"

#include "plan/report.h"
#include "plan/svg.h"

namespace shoehorn {

std::string plan_report_text(const PreparedModel& prepared, bool unicode) {
  return plan_text(prepared.plan_input, prepared.plan, {.unicode = unicode});
}

std::string plan_report_json(const PreparedModel& prepared) {
  return plan_json(prepared.plan);
}

std::string plan_report_svg(const PreparedModel& prepared) {
  return plan_svg(prepared.plan_input, prepared.plan,
                  prepared.opened.checkpoint->path().filename().string());
}

}  // namespace shoehorn
