// What a pass is made of, group by group: where it lives, where it runs, what it reads, and how
// long that takes, as predicted and as measured.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "plan/report.h"

namespace shoehorn {

/// One group of weights in the passes of a run.
struct MeasuredGroup {
  std::string path;          // "model.layers.3"
  std::uint64_t passes = 0;  // that took it
  double wait_s = 0;         // of all of them, for its weights to come
  double busy_s = 0;         // of all of them, computing with it
};

/// A table with a row for each of Plan::steps, and a line of sums.
std::string explain_text(const Plan& plan, const TextStyle& style);

/// The same rows with what was measured beside what was predicted, a row a group.
std::string measured_text(const Plan& plan, const std::vector<MeasuredGroup>& groups,
                          const TextStyle& style);

}  // namespace shoehorn
