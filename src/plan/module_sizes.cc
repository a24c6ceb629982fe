#include "plan/module_sizes.h"

#include <set>
#include <string_view>

namespace shoehorn {
namespace {

PyNumber size_of_name(Flavour flavour, std::string_view dtype) {
  return flavour == Flavour::kAccelerate ? accelerate_dtype_bytes(dtype)
                                         : torch_element_size(dtype);
}

}  // namespace

ModuleSizes::ModuleSizes(const PlanTree& tree, const SizeOptions& options)
    : tree_(&tree),
      options_(options),
      bytes_(static_cast<std::size_t>(tree.size())),
      listed_(static_cast<std::size_t>(tree.size()), false) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const std::string name = planner_dtype_name(static_cast<DType>(i));
    own_bytes_by_dtype_.push_back(size_of_name(options.flavour, name));
    keeps_dtype_.push_back(keeps_its_dtype(name));
  }
  if (options.dtype) accelerate_dtype_bytes(*options.dtype);  // throws where it does not exist

  std::set<std::string_view> aliases;
  for (const Tie& tie : tree.module_tree().ties) aliases.insert(tie.alias);
  const auto counts = [&](NodeId id) {
    return options_.flavour == Flavour::kAccelerate ? tree.node(id).storage == id
                                                    : !aliases.contains(tree.node(id).path);
  };
  for (const NodeKind kind : {NodeKind::kParameter, NodeKind::kBuffer}) {
    for (NodeId id = 0; id < tree.size(); ++id) {
      if (tree.node(id).kind == kind && counts(id)) add(id);
    }
  }
}

void ModuleSizes::add(NodeId tensor) {
  const PlanNode& node = tree_->node(tensor);
  const PyNumber bytes = PyNumber{node.elements, false} * element_bytes(node, node.path);
  // From the root down, because that is the order in which the references list them.
  std::vector<NodeId> chain;
  for (NodeId id = tensor; id >= 0; id = tree_->node(id).parent) chain.push_back(id);
  for (auto id = chain.rbegin(); id != chain.rend(); ++id) {
    const auto i = static_cast<std::size_t>(*id);
    bytes_[i] += bytes;
    if (!listed_[i]) order_.push_back(*id);
    listed_[i] = true;
  }
}

PyNumber ModuleSizes::own_element_bytes(const PlanNode& node) const {
  if (!options_.own_dtypes.empty()) {
    const auto named = options_.own_dtypes.find(node.path);
    if (named != options_.own_dtypes.end()) return size_of_name(options_.flavour, named->second);
  }
  return own_bytes_by_dtype_[static_cast<std::size_t>(node.dtype)];
}

PyNumber ModuleSizes::element_bytes(const PlanNode& node, const std::string& path) const {
  if (options_.flavour == Flavour::kTransformers) {
    const auto quantized = options_.element_size.find(path);
    return quantized != options_.element_size.end() ? quantized->second : own_element_bytes(node);
  }
  if (!options_.special_dtypes.empty()) {
    const auto special = options_.special_dtypes.find(path);
    if (special != options_.special_dtypes.end()) return accelerate_dtype_bytes(special->second);
  }
  const PyNumber own = own_element_bytes(node);
  if (!options_.dtype) return own;
  const auto named = options_.own_dtypes.find(node.path);
  if (named != options_.own_dtypes.end() ? keeps_its_dtype(named->second)
                                         : keeps_dtype_[static_cast<std::size_t>(node.dtype)]) {
    return own;
  }
  const PyNumber target = accelerate_dtype_bytes(*options_.dtype);
  return own.value < target.value ? own : target;  // Python's min: the first of two equal ones
}

PyNumber ModuleSizes::buffer_bytes(NodeId module) const {
  const PlanNode& top = tree_->node(module);
  const bool by_name = !options_.special_dtypes.empty() || !options_.element_size.empty();
  PyNumber sum;
  for (NodeId id = module + 1; id < top.end; ++id) {
    const PlanNode& node = tree_->node(id);
    if (node.kind != NodeKind::kBuffer) continue;
    const std::string path =
        by_name ? node.path.substr(top.path.empty() ? 0 : top.path.size() + 1) : std::string();
    sum += PyNumber{node.elements, false} * element_bytes(node, path);
  }
  return sum;
}

}  // namespace shoehorn
