#include "plan/planner_shoehorn.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "plan/assignment_map.h"
#include "plan/cost_model.h"
#include "plan/human_size.h"
#include "plan/placement_search.h"

namespace shoehorn {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kLargestLimit = std::size_t{1} << 50;

void require_consistent(const PlanInput& input) {
  if (input.tree == nullptr) throw ArgumentError("plan: no module tree");
  for (const auto& [device, spec] : input.devices) {
    if (device.is_disk()) throw ArgumentError("plan: disk holds everything and takes no limit");
  }
}

// A larger ring takes room from weights, which every pass then reads: it has to be worth that much.
constexpr double kWorthARing = 0.95;

// What a process holds beside the plan differs by some pages from run to run.
constexpr std::size_t kProcessVaries = 2 * kMiB;

int fewest_slots(const PlanInput& input) {
  return std::min(input.min_staging_slots, input.staging_slots);
}

bool fits(const PlanInput& input) {
  return PlacementSearch(CostModel(input)).with_slots(fewest_slots(input)).has_value();
}

// The smallest limit of the CPU, in whole MiB, with which some map fits in another process too; 0
// where none helps.
std::size_t smallest_cpu_limit(PlanInput input) {
  PlanDevice& cpu = input.devices[DeviceKey::cpu()];
  if (cpu.process_bytes > 0) cpu.process_bytes += kProcessVaries;
  std::size_t& limit = cpu.limit_bytes;
  std::size_t low = limit / kMiB;  // in MiB; does not fit
  std::size_t high = std::max<std::size_t>(low, 1);
  do {
    high *= 2;
    if (high * kMiB > kLargestLimit) return 0;
    limit = high * kMiB;
  } while (!fits(input));
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    limit = middle * kMiB;
    (fits(input) ? high : low) = middle;
  }
  return high * kMiB;
}

// The largest context whose KV cache leaves room for some map; 0 where none does.
std::size_t largest_context(const PlanInput& input) {
  PlanInput scaled = input;
  std::size_t low = 0;
  std::size_t high = input.max_context;
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    for (std::size_t i = 0; i < scaled.kv_bytes_per_layer.size(); ++i) {
      const double per_token =
          static_cast<double>(input.kv_bytes_per_layer[i]) / static_cast<double>(input.max_context);
      scaled.kv_bytes_per_layer[i] =
          static_cast<std::size_t>(std::ceil(per_token * static_cast<double>(middle)));
    }
    (fits(scaled) ? low : high) = middle;
  }
  return low;
}

[[noreturn]] void fail_to_fit(const PlanInput& input) {
  const auto cpu = input.devices.find(DeviceKey::cpu());
  const std::size_t available = cpu == input.devices.end() ? 0 : cpu->second.limit_bytes;
  const std::size_t needed = smallest_cpu_limit(input);
  std::string text = str_cat("the model does not fit: the cpu limit of ", human_size(available),
                             " does not hold what must be in memory even when every layer is "
                             "streamed from disk");
  if (needed > 0) {
    text += str_cat("; the smallest that works is --max-memory cpu=", needed / kMiB, "MiB (",
                    needed, " bytes, there are ", available, ")");
  }
  if (input.max_context > 0) {
    const std::size_t context = largest_context(input);
    if (context > 0) text += str_cat(", or --max-context ", context);
  }
  throw PlanError(text, needed, available);
}

void add_notes(Plan& plan) {
  if (plan.stream_groups.empty()) {
    if (plan.streamed_bytes_per_token > 0) {
      plan.notes.push_back(
          "embedding rows are fetched from disk as tokens need them; everything "
          "else is resident");
    }
    return;
  }
  std::size_t streamed = 0;
  for (const StreamGroup& group : plan.stream_groups) streamed += group.streamed_bytes;
  const double share = 100.0 * static_cast<double>(streamed) /
                       static_cast<double>(std::max<std::size_t>(plan.footprint_bytes, 1));
  plan.notes.push_back(str_cat(human_size(streamed), " of ", human_size(plan.footprint_bytes), " (",
                               std::lround(share), " %) are read from disk for every pass, in ",
                               plan.stream_groups.size(), " pieces, through ", plan.staging_slots,
                               " staging slots"));
}

Assignment assignment_of(const CostModel& model, const DeviceMap& map) {
  const PlanTree& tree = model.tree();
  const auto devices = devices_of(map, tree);
  Assignment assignment;
  std::string uncovered;
  for (const WeightCost& cost : model.input().weights) {
    const NodeId node = tree.find(cost.path);
    const auto device = devices[static_cast<std::size_t>(node)];
    if (!device) {
      if (uncovered.size() < 1000) uncovered += (uncovered.empty() ? "" : ", ") + cost.path;
      assignment.push_back(DeviceKey::disk());
      continue;
    }
    if (!device->is_disk() && !model.input().devices.contains(*device)) {
      throw ArgumentError(str_cat("device_map: ", cost.path, " is on device ", to_string(*device),
                                  ", which has no memory limit here: there is no such device"));
    }
    assignment.push_back(*device);
  }
  if (!uncovered.empty()) {
    throw ArgumentError(str_cat("device_map gives no device to ", uncovered,
                                ": add these names, a module above them, or \"\" for all"));
  }
  return assignment;
}

}  // namespace

Plan plan_shoehorn(const PlanInput& input) {
  require_consistent(input);
  const CostModel model(input);
  const PlacementSearch search(model);
  std::optional<Plan> best;
  Assignment assignment;
  for (int slots = fewest_slots(input); slots <= input.staging_slots; ++slots) {
    auto found = search.with_slots(slots);
    if (!found) break;
    Plan plan = model.account(found->assignment, found->unit, std::max(found->staging_slots, 1));
    // The search adds up by itself, for speed; the account has the last word.
    const auto broken = model.broken_limits(plan);
    if (!broken.empty()) {
      throw PlanError("the planner contradicts its own account: " + broken.front());
    }
    if (best && plan.predicted.pass_s >= kWorthARing * best->predicted.pass_s) continue;
    best = std::move(plan);
    assignment = std::move(found->assignment);
    if (best->stream_groups.empty()) break;  // nothing to run ahead of
    // Nor could any ring be worth it: a larger one leaves no less to read.
    if (best->predicted.disk_s >= kWorthARing * best->predicted.pass_s) break;
  }
  if (!best) fail_to_fit(input);
  best->device_map = assignment_map(model, assignment);
  add_notes(*best);
  return std::move(*best);
}

Plan evaluate_map(const PlanInput& input, const DeviceMap& map) {
  require_consistent(input);
  const CostModel model(input);
  const auto split = split_ties(map, model.tree());
  if (!split.empty()) {
    throw PlanError(str_cat("device_map: ", split.front(), " and ", split.back(),
                            " are one tensor and must be on one device"));
  }
  const Assignment assignment = assignment_of(model, map);
  std::vector<std::string> broken;
  for (const StreamUnit unit : {StreamUnit::kLayer, StreamUnit::kLeafModule}) {
    if (unit == StreamUnit::kLeafModule && input.smallest_stream_unit == StreamUnit::kLayer) break;
    std::optional<Plan> best;
    for (int slots = fewest_slots(input); slots <= input.staging_slots; ++slots) {
      Plan plan = model.account(assignment, unit, slots);
      const auto now_broken = model.broken_limits(plan);
      if (broken.empty()) broken = now_broken;
      if (!now_broken.empty()) break;
      if (!best || plan.predicted.pass_s < kWorthARing * best->predicted.pass_s) {
        best = std::move(plan);
      }
    }
    if (!best) continue;
    best->device_map = map;
    add_notes(*best);
    return std::move(*best);
  }
  std::string text = "this device_map does not fit its limits: ";
  for (const std::string& sentence : broken) text += sentence + "; ";
  throw PlanError(text + "move modules elsewhere or raise the limit");
}

}  // namespace shoehorn
