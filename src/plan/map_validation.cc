#include "plan/map_validation.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "plan/plan_tree.h"
#include "plan/reference_plan.h"

namespace shoehorn {
namespace {

constexpr std::size_t kMostListed = 8;         // of one kind of mistake
constexpr std::size_t kLongestCompared = 256;  // characters of a name

/// Levenshtein's distance.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string nearest_name(std::string_view name, const PlanTree& tree) {
  std::size_t best = std::numeric_limits<std::size_t>::max();
  std::string nearest;
  if (name.size() > kLongestCompared) return nearest;
  for (NodeId id = 1; id < tree.size(); ++id) {
    const std::string& path = tree.node(id).path;
    if (path.size() > kLongestCompared) continue;
    const std::size_t distance = edit_distance(name, path);
    if (distance < best) {
      best = distance;
      nearest = path;
    }
  }
  return nearest;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMostListed); ++i) {
    text += str_cat(i == 0 ? "" : ", ", names[i]);
  }
  if (names.size() > kMostListed) text += str_cat(" and ", names.size() - kMostListed, " more");
  return text;
}

}  // namespace

void validate_device_map(const DeviceMap& map, const ModuleTree& module_tree,
                         AcceleratorCounts counts) {
  const PlanTree tree(module_tree);
  std::string mistakes;
  for (const auto& [path, device] : map) {
    if (!path.empty() && tree.find(path) < 0) {
      mistakes += str_cat("\n  \"", path, "\" names no module; the nearest name is \"",
                          nearest_name(path, tree), "\"");
    }
    if (device.is_accelerator() && (device.index < 0 || device.index >= counts.total())) {
      mistakes += str_cat("\n  \"", path, "\": accelerator ", device.index,
                          " is not there; this machine has ", counts.total());
    }
    if (device.kind == DeviceKey::Kind::kMps) {
      mistakes +=
          str_cat("\n  \"", path, "\": mps is not a device of shoehorn's; write cpu or disk");
    }
  }
  const MapCheck check = check_device_map(map, tree);
  if (!check.uncovered.empty()) {
    mistakes += str_cat("\n  no device for ", listed(check.uncovered),
                        "; name them, a module above them, or add \"\": \"cpu\" for all the rest");
  } else if (const auto ties = split_ties(map, tree); !ties.empty()) {
    mistakes += str_cat("\n  tied tensors are one tensor and need one device: ", listed(ties));
  }
  if (!mistakes.empty()) throw FormatError(str_cat("the device map cannot be used:", mistakes));
}

}  // namespace shoehorn
