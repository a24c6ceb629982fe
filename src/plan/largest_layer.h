// The largest layer of a list of modules: what accelerate's get_max_layer_size finds, and what its
// planner keeps room for on the first accelerator and on the CPU.
#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plan/module_sizes.h"
#include "plan/plan_tree.h"

namespace shoehorn {

/// Class names whose modules are never split.
using ClassNames = std::set<std::string, std::less<>>;

struct LargestLayer {
  PyNumber bytes;
  std::set<NodeId> layers;  // every layer that is as large
};

/// Walks `queue` (modules and tensors) depth-first. An item without child modules, or whose class
/// is in `no_split`, is a layer; any other module is replaced by its child modules, and tensors it
/// owns directly are not looked at.
LargestLayer find_largest_layer(const PlanTree& tree, std::span<const NodeId> queue,
                                const ModuleSizes& sizes, const ClassNames& no_split);

}  // namespace shoehorn
