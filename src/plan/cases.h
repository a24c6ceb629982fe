// `shoehorn plan --tree CASES.json --json`: plans a file of small trees, each with the planner its
// `flavour` names, in the schema of tests/data/device-map-cases.json.
#pragma once

#include <string>
#include <string_view>

namespace shoehorn {

/// Takes the whole file, or just its array of cases, or one case; gives a JSON array with an object
/// a case: "name" and either "map" (with "budget", "total_bytes", "module_sizes", "warn_buffers",
/// and "uncovered" where the reference forgets tensors), or for strategy "custom" "ok" with
/// "tensor_devices" and "warn_unknown_keys", or "error" {"type", "kind", "message", "uncovered"}.
/// Flavour "shoehorn" plans with the default planner and no cost but the weights.
/// Throws FormatError for text that is not such a file, naming the case and the field.
std::string plan_cases_json(std::string_view cases_json);

}  // namespace shoehorn
