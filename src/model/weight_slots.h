// Which weight of its group a block finds where: an architecture names a group's weights in the
// order in which its blocks ask for them.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_set>
#include <utility>

#include "model/architecture.h"
#include "plan/module_tree.h"

namespace shoehorn {

/// Positions in a group; of what the model does not have, that of a view without data.
struct LinearSlots {
  std::size_t weight = 0;
  std::size_t bias = 0;
};

/// The paths of a tree's parameters.
class ParameterPaths {
 public:
  explicit ParameterPaths(const ModuleTree& tree) {
    for (const TreeTensor& tensor : tree_tensors(tree)) {
      if (!tensor.is_buffer || tensor.persistent) paths_.insert(tensor.path);
    }
  }
  bool contains(const std::string& path) const { return paths_.contains(path); }

 private:
  std::unordered_set<std::string> paths_;
};

/// Names the weights of one group. `prefix`, "model.layers.3.", goes in front of every name.
class GroupBuilder {
 public:
  GroupBuilder(const ParameterPaths& paths, std::string name, std::string prefix)
      : paths_(paths), prefix_(std::move(prefix)), group_{std::move(name), {}} {}

  /// The position of a weight; one that the tree does not have takes a position without data.
  std::size_t add(const std::string& path) {
    const std::string full = prefix_ + path;
    group_.weights.push_back(paths_.contains(full) ? full : "");
    return group_.weights.size() - 1;
  }
  LinearSlots add_linear(const std::string& module) {
    const std::size_t weight = add(module + ".weight");
    return {weight, add(module + ".bias")};
  }
  /// What goes in front of names from now on.
  void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }

  const WeightGroupNames& group() const { return group_; }

 private:
  const ParameterPaths& paths_;
  std::string prefix_;
  WeightGroupNames group_;
};

}  // namespace shoehorn
