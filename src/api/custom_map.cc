#include "api/custom_map.h"

#include <filesystem>
#include <optional>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"
#include "plan/custom_map.h"

namespace shoehorn {
namespace {

constexpr std::uint64_t kMaxMapBytes = std::uint64_t{64} << 20;

}  // namespace

DeviceMap custom_device_map(const std::string& device_map, const ModuleTree& tree,
                            const MapRules& rules) {
  const PlanTree plan_tree(tree);
  if (parse_device(device_map, rules.accelerators)) {
    return check_written_map({{"", device_map}}, plan_tree, rules);
  }
  if (device_map.starts_with('{')) {
    return check_written_map(parse_device_map_json(device_map), plan_tree, rules);
  }
  if (std::filesystem::is_regular_file(device_map)) {
    return check_written_map(parse_device_map_json(read_text_file(device_map, kMaxMapBytes)),
                             plan_tree, rules);
  }
  throw ArgumentError(str_cat("device_map \"", device_map,
                              "\" is no strategy (auto, balanced, balanced_low_0, sequential), no "
                              "device (cpu, disk, cuda:0, virtual:0) and no JSON file"));
}

}  // namespace shoehorn
