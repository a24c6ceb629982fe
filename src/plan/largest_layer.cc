#include "plan/largest_layer.h"

namespace shoehorn {
namespace {

void visit(const PlanTree& tree, NodeId id, const ModuleSizes& sizes, const ClassNames& no_split,
           LargestLayer& largest) {
  const PlanNode& node = tree.node(id);
  if (!node.children.empty() && !no_split.contains(node.class_name)) {
    for (const NodeId child : node.children) visit(tree, child, sizes, no_split, largest);
    return;
  }
  const PyNumber bytes = sizes.at(id);
  if (bytes.value > largest.bytes.value) {
    largest = {bytes, {id}};
  } else if (bytes.value == largest.bytes.value) {
    largest.layers.insert(id);
  }
}

}  // namespace

LargestLayer find_largest_layer(const PlanTree& tree, std::span<const NodeId> queue,
                                const ModuleSizes& sizes, const ClassNames& no_split) {
  LargestLayer largest;
  for (const NodeId id : queue) visit(tree, id, sizes, no_split, largest);
  return largest;
}

}  // namespace shoehorn
