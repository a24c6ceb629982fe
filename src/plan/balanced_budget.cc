#include "plan/balanced_budget.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/str_cat.h"
#include "plan/reference_error.h"

namespace shoehorn {
namespace {

constexpr double kSlack = 1.25;
constexpr double kLoneAcceleratorShare = 0.9;

// Python's min and max keep the first of two equal values, and its type with it.
PyNumber py_min(PyNumber a, PyNumber b) {
  return b.value < a.value ? b : a;
}

std::vector<DeviceKey> usable_accelerators(const Budget& budget) {
  std::vector<DeviceKey> usable;
  for (const auto& [device, bytes] : budget) {
    if (device.is_accelerator() && bytes.value > 0) usable.push_back(device);
  }
  return usable;
}

bool has_usable_mps(const Budget& budget) {
  const auto mps = budget.find(DeviceKey::mps());
  return mps != budget.end() && mps->second.value > 0;
}

double largest_first_instance(const PlanTree& tree, const ModuleSizes& sizes,
                              const ClassNames& no_split) {
  std::set<std::string_view> seen;
  double largest = 0;
  for (const NodeId id : sizes.order()) {
    const PlanNode& node = tree.node(id);
    if (id == 0 || !node.is_module() || !no_split.contains(node.class_name)) continue;
    if (seen.insert(node.class_name).second) largest = std::max(largest, sizes.at(id).value);
  }
  return largest;
}

// Modules that own tensors, directly or below, and of whose children none does.
double mean_leaf_module(const PlanTree& tree, const ModuleSizes& sizes) {
  double sum = 0;
  double count = 0;
  for (const NodeId id : sizes.order()) {
    const PlanNode& node = tree.node(id);
    if (id == 0 || !node.is_module()) continue;
    const bool is_leaf =
        std::ranges::none_of(node.children, [&sizes](NodeId child) { return sizes.has(child); });
    if (!is_leaf) continue;
    sum += sizes.at(id).value;
    ++count;
  }
  return std::trunc(sum / std::max(count, 1.0));
}

double largest_instance(const PlanTree& tree, const ModuleSizes& sizes,
                        const ClassNames& no_split) {
  if (no_split.empty()) return 0;
  std::optional<double> largest;
  for (NodeId id = 0; id < tree.size(); ++id) {
    const PlanNode& node = tree.node(id);
    if (node.is_module() && no_split.contains(node.class_name)) {
      largest = std::max(largest.value_or(0), sizes.at(id).value);
    }
  }
  if (!largest) {
    throw ReferenceCrash("ValueError", str_cat("no module has a class of no_split_module_classes (",
                                               *no_split.begin(), ", ...)"));
  }
  return *largest;
}

double largest_direct_tensors(const PlanTree& tree, const ModuleSizes& sizes) {
  double largest = 0;
  for (NodeId id = 1; id < tree.size(); ++id) {
    const PlanNode& node = tree.node(id);
    double sum = 0;
    for (const auto* tensors : {&node.parameters, &node.buffers}) {
      for (const NodeId tensor : *tensors) {
        if (sizes.has(tensor)) sum += sizes.at(tensor).value;
      }
    }
    largest = std::max(largest, sum);
  }
  return largest;
}

// What accelerator 0 must take because the others cannot. The originals look for accelerators
// 1..n-1 by number, and for 0, and fail where one is missing.
void keep_little_on_zero(Budget& budget, PyNumber total, int accelerators) {
  PyNumber others;
  for (int i = 1; i < accelerators; ++i) {
    const auto found = budget.find(DeviceKey::accelerator(i));
    if (found == budget.end()) {
      throw ReferenceCrash("KeyError", str_cat("balanced_low_0 with ", accelerators,
                                               " accelerators needs one with number ", i));
    }
    others += found->second;
  }
  const auto zero = budget.find(DeviceKey::accelerator(0));
  if (zero == budget.end()) {
    throw ReferenceCrash("KeyError", "balanced_low_0 needs an accelerator with number 0");
  }
  PyNumber rest = total - others;
  if (rest.value <= 0) rest = PyNumber{0, false};
  zero->second = py_min(rest, zero->second);
}

// The part that both flavours share; `slack` is called once the budget asks for it.
template <typename Slack>
Budget balance(const ModuleSizes& sizes, Budget budget, const BalanceOptions& options,
               const Slack& slack) {
  const std::vector<DeviceKey> accelerators = usable_accelerators(budget);
  // Apple's device is counted, but never cut down.
  const int n = static_cast<int>(accelerators.size()) + (has_usable_mps(budget) ? 1 : 0);
  if (n == 0) return budget;
  const bool low_zero = options.low_zero && n > 1;
  if (n == 1 && !options.budget_was_given) {
    PyNumber& bytes = budget.begin()->second;
    if (budget.begin()->first.is_accelerator())
      bytes = bytes * PyNumber{kLoneAcceleratorShare, true};
  }

  const PyNumber total = sizes.total();
  PyNumber share{std::floor(total.value / (low_zero ? n - 1 : n)), total.is_float};
  share += PyNumber{std::trunc(kSlack * slack()), false};
  for (std::size_t i = 0; i + 1 < accelerators.size(); ++i) {
    if (low_zero && accelerators[i].index == 0) continue;
    PyNumber& bytes = budget[accelerators[i]];
    bytes = py_min(share, bytes);
  }
  if (low_zero) keep_little_on_zero(budget, total, n);
  return budget;
}

}  // namespace

Budget accelerate_balanced_budget(const PlanTree& tree, const ModuleSizes& sizes, Budget budget,
                                  const ClassNames& no_split, const BalanceOptions& options) {
  if (budget.contains(DeviceKey::disk())) {
    throw ReferenceCrash("RuntimeError", "a balanced strategy with a \"disk\" entry in max_memory");
  }
  return balance(sizes, std::move(budget), options, [&] {
    return std::max(largest_first_instance(tree, sizes, no_split), mean_leaf_module(tree, sizes));
  });
}

Budget transformers_balanced_budget(const PlanTree& tree, const ModuleSizes& sizes, Budget budget,
                                    const ClassNames& no_split, const BalanceOptions& options) {
  return balance(sizes, std::move(budget), options, [&] {
    return std::max(largest_instance(tree, sizes, no_split), largest_direct_tensors(tree, sizes));
  });
}

}  // namespace shoehorn
