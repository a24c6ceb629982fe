#include "shoehorn/plan.h"

#include "api/config_alone.h"
#include "api/plan_report.h"
#include "api/prepare.h"
#include "api/speculation.h"
#include "plan/cases.h"
#include "plan/explain.h"

namespace shoehorn {

PlanReport plan(const std::string& model, const LoadOptions& options,
                const PlanOptions& plan_options) {
  const ModelRequest request = allow_config_alone(model, options);
  const auto prepared_model = prepare_model(request.model, request.options, plan_options.assume,
                                            /*measure=*/true, planned_draft_bytes(options));
  const PreparedModel& prepared = *prepared_model;
  return {.device_map = prepared.hf_device_map(),
          .text = plan_report_text(prepared, /*unicode=*/true),
          .text_ascii = plan_report_text(prepared, /*unicode=*/false),
          .explain = explain_text(prepared.plan, {.unicode = true}),
          .explain_ascii = explain_text(prepared.plan, {.unicode = false}),
          .json = plan_report_json(prepared),
          .svg = plan_report_svg(prepared)};
}

std::string plan_cases(std::string_view cases_json) {
  return plan_cases_json(cases_json);
}

}  // namespace shoehorn
