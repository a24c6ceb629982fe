#include "plan/explain.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "base/str_cat.h"
#include "plan/human_size.h"
#include "plan/text_table.h"

namespace shoehorn {
namespace {

std::string milliseconds(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3f", 1e3 * seconds);
  return text.data();
}

std::string ms_or_dash(double seconds) {
  return seconds == 0 ? "-" : milliseconds(seconds);
}

std::string size_or_dash(std::size_t bytes) {
  return bytes == 0 ? "-" : human_size(bytes);
}

/// "cpu int8 12 MiB; disk nf4 3 MiB"; what is less than a hundredth of it is left out.
std::string lives_text(const PlanStep& step) {
  std::size_t total = 0;
  for (const auto& [device, forms] : step.bytes_on) {
    for (const auto& [form, bytes] : forms) total += bytes;
  }
  std::string text;
  for (const auto& [device, forms] : step.bytes_on) {
    for (const auto& [form, bytes] : forms) {
      if (bytes * 100 < total) continue;
      text += str_cat(text.empty() ? "" : "; ", to_string(device), form.empty() ? "" : " ", form,
                      " ", human_size(bytes));
    }
  }
  return text;
}

}  // namespace

std::string explain_text(const Plan& plan, const TextStyle& style) {
  TextTable table({"group", "lives", "runs on", "disk/pass", "memory/pass", "read ms", "compute ms",
                   "prefill ms"});
  std::size_t disk = 0;
  std::size_t memory = 0;
  double read_s = 0;
  double compute_s = 0;
  double prefill_s = 0;
  for (const PlanStep& step : plan.steps) {
    table.add_row({step.path, lives_text(step), to_string(step.device),
                   size_or_dash(step.disk_bytes), size_or_dash(step.memory_bytes),
                   ms_or_dash(step.read_s), ms_or_dash(step.compute_s),
                   ms_or_dash(step.prefill_s)});
    disk += step.disk_bytes;
    memory += step.memory_bytes;
    read_s += step.read_s;
    compute_s += step.compute_s;
    prefill_s += step.prefill_s;
  }
  table.add_row({"all", "", "", size_or_dash(disk), human_size(memory), ms_or_dash(read_s),
                 ms_or_dash(compute_s), ms_or_dash(prefill_s)});
  std::string text = table.text(style.unicode);
  text += str_cat("a pass is predicted to take ", milliseconds(plan.predicted.pass_s), " ms");
  if (plan.staging_slots > 0) {
    text += str_cat(": reading runs ahead through ", plan.staging_slots, " slots of staging");
  }
  return text + "\n";
}

std::string measured_text(const Plan& plan, const std::vector<MeasuredGroup>& groups,
                          const TextStyle& style) {
  TextTable table({"group", "lives", "runs on", "disk/pass", "compute ms", "predicted", "wait ms",
                   "read ms predicted"});
  double busy = 0;
  double wait = 0;
  double predicted = 0;
  for (const MeasuredGroup& group : groups) {
    if (group.passes == 0) continue;
    const auto passes = static_cast<double>(group.passes);
    const auto step = std::ranges::find(plan.steps, group.path, &PlanStep::path);
    const bool known = step != plan.steps.end();
    table.add_row({group.path, known ? lives_text(*step) : "", known ? to_string(step->device) : "",
                   known ? size_or_dash(step->disk_bytes) : "", milliseconds(group.busy_s / passes),
                   known ? ms_or_dash(step->compute_s) : "", ms_or_dash(group.wait_s / passes),
                   known ? ms_or_dash(step->read_s) : ""});
    busy += group.busy_s / passes;
    wait += group.wait_s / passes;
    if (known) predicted += step->compute_s;
  }
  table.add_row({"all", "", "", size_or_dash(plan.streamed_bytes_per_token), milliseconds(busy),
                 ms_or_dash(predicted), ms_or_dash(wait), ms_or_dash(plan.predicted.disk_s)});
  return table.text(style.unicode);
}

}  // namespace shoehorn
