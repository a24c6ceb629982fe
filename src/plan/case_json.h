// Reads planning cases from JSON (the schema of tests/data/device-map-cases.json).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/custom_map.h"
#include "plan/module_tree.h"
#include "plan/reference_plan.h"

namespace shoehorn {

struct PlanCase {
  std::string name;
  std::string flavour;   // as written, not checked
  std::string strategy;  // likewise
  ModuleTree tree;
  ReferenceRequest request;  // all but its strategy
  /// For strategy "custom": the map to check, devices as written.
  WrittenMap device_map;
};

/// Throws FormatError naming the case and the field that is wrong.
std::vector<PlanCase> parse_plan_cases(std::string_view json_text);

}  // namespace shoehorn
