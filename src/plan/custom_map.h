// Device maps that users write, checked in full before anything is loaded: every problem in one
// message, each with what to write instead.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "plan/device_map.h"
#include "plan/plan_tree.h"

namespace shoehorn {

/// Path → device as written: 0, "cuda:0", "cpu", "disk".
using WrittenMap = std::vector<std::pair<std::string, std::variant<long long, std::string>>>;

/// Reads {"model.embed_tokens": 0, "model.layers": "cpu", ...}, or an object with such a
/// "device_map", as `plan --json` prints it. Throws FormatError for anything else, a key that is
/// there twice included.
WrittenMap parse_device_map_json(std::string_view json_text);

struct MapRules {
  AcceleratorCounts accelerators = {};
  /// A hypothetical plan: accelerators that are not there are allowed.
  bool any_accelerator = false;
};

/// The map with its devices normalised (0 and "cuda:0" are one device). Throws ArgumentError
/// listing all of: names that are neither module nor tensor, with the nearest that are; devices
/// that do not exist; tensors without a device, by module; tied tensors on different devices.
DeviceMap check_written_map(const WrittenMap& written, const PlanTree& tree, const MapRules& rules);

/// The path of the tree most like `path`: the same name under another prefix, else the fewest
/// edits; empty if nothing is near.
std::string nearest_path(const PlanTree& tree, std::string_view path);

}  // namespace shoehorn
