// What `shoehorn plan` prints: a table and a bar for every device, where the modules go, how fast
// that would run; and the same as JSON.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.h"

namespace shoehorn {

struct TextStyle {
  bool unicode = true;  // block characters; plain ASCII otherwise
  int width = 100;      // columns of the terminal
};

/// Modules that a report names together: one module outside the layers, or all layers whose parts
/// live on the same devices.
struct ReportLine {
  std::string what;   // "lm_head", "model.layers.0-7, 9-15 (15 layers)"
  std::string where;  // "cpu", "cpu; mlp.down_proj on disk"
};

/// In order of the tree; layers at the place of the first that is alike.
std::vector<ReportLine> report_lines(const PlanInput& input, const Plan& plan);

/// "0-3, 5, 7-9" for sorted numbers.
std::string number_ranges(const std::vector<int>& numbers);

/// Several lines, the last with a newline.
std::string plan_text(const PlanInput& input, const Plan& plan, const TextStyle& style);

/// {"device_map", "bytes": {device: weight bytes}, "footprint_bytes", "kv_cache_bytes",
/// "workspace_bytes", "staging_bytes", "predicted": {"prefill_tok_s", "decode_tok_s", "bound_by"},
/// "streamed_bytes_per_token", "staging_slots", "steps": [{"group", "lives": {device: {form:
/// bytes}}, "runs_on", "disk_bytes", "memory_bytes", "read_s", "compute_s", "prefill_s"}],
/// "devices": {device: {"limit_bytes", "used_bytes", "weights", ...}}, "notes"}. "bytes" of disk
/// are bytes stored there for this map.
std::string plan_json(const Plan& plan);

}  // namespace shoehorn
