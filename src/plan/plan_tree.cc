#include "plan/plan_tree.h"

#include <algorithm>
#include <map>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

// Far beyond any model; keeps what a hostile tree can make of its input small.
constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxPathLength = 512;

void require_name(const std::string& prefix, const std::string& name) {
  if (name.empty()) throw FormatError(str_cat("module tree: an empty name below \"", prefix, '"'));
  if (name.find('.') != std::string::npos) {
    throw FormatError(str_cat("module tree: the name \"", name.substr(0, 80), "\" below \"", prefix,
                              "\" contains a dot, which separates names"));
  }
  if (prefix.size() + name.size() > kMaxPathLength) {
    throw FormatError(str_cat("module tree: a path longer than ", kMaxPathLength,
                              " characters below \"", prefix.substr(0, 80), '"'));
  }
}

std::size_t count_nodes(const Module& module) {
  std::size_t nodes = 1 + module.parameters.size() + module.buffers.size();
  for (const auto& [name, child] : module.children) nodes += count_nodes(child);
  return nodes;
}

}  // namespace

PlanTree::PlanTree(const ModuleTree& tree) : tree_(&tree) {
  nodes_.reserve(count_nodes(tree.root));
  add_module(tree.root, "", -1, 0);
  index_.reserve(nodes_.size());
  for (NodeId id = 0; id < size(); ++id) {
    if (!index_.emplace(node(id).path, id).second) {
      throw FormatError(str_cat("module tree: \"", node(id).path, "\" is there twice"));
    }
  }
  join_ties();
}

NodeId PlanTree::add_node(PlanNode node) {
  const NodeId id = size();
  node.storage = id;
  node.end = id + 1;
  nodes_.push_back(std::move(node));
  return id;
}

void PlanTree::add_tensor(NodeKind kind, const std::string& prefix, const std::string& name,
                          const Shape& shape, DType dtype, bool persistent, NodeId parent) {
  require_name(prefix, name);
  const auto elements = shape.checked_elements();
  if (!elements) {
    throw FormatError(
        str_cat("module tree: ", prefix, name, ": shape ", to_string(shape), " overflows"));
  }
  PlanNode node;
  node.path = prefix + name;
  node.kind = kind;
  node.parent = parent;
  node.dtype = dtype;
  node.elements = static_cast<double>(*elements);
  node.persistent = persistent;
  const NodeId id = add_node(std::move(node));
  PlanNode& owner = nodes_[static_cast<std::size_t>(parent)];
  (kind == NodeKind::kParameter ? owner.parameters : owner.buffers).push_back(id);
}

void PlanTree::add_module(const Module& module, std::string path, NodeId parent, int depth) {
  if (depth > kMaxDepth) {
    throw FormatError(str_cat("module tree: modules nested more than ", kMaxDepth, " deep below \"",
                              path.substr(0, 80), '"'));
  }
  const std::string prefix = path.empty() ? "" : path + ".";
  PlanNode node;
  node.path = std::move(path);
  node.parent = parent;
  node.class_name = module.class_name;
  const NodeId id = add_node(std::move(node));
  for (const ParameterSpec& p : module.parameters) {
    add_tensor(NodeKind::kParameter, prefix, p.name, p.shape, p.dtype, true, id);
  }
  for (const BufferSpec& b : module.buffers) {
    add_tensor(NodeKind::kBuffer, prefix, b.name, b.shape, b.dtype, b.persistent, id);
  }
  for (const auto& [name, child] : module.children) {
    require_name(prefix, name);
    nodes_[static_cast<std::size_t>(id)].children.push_back(size());
    add_module(child, prefix + name, id, depth + 1);
  }
  nodes_[static_cast<std::size_t>(id)].end = size();
}

NodeId PlanTree::find(std::string_view path) const {
  const auto found = index_.find(path);
  return found == index_.end() ? -1 : found->second;
}

void PlanTree::join_ties() {
  // Union by hand: storage points at an earlier member until it points at itself.
  const auto first_of = [this](NodeId id) {
    while (node(id).storage != id) id = node(id).storage;
    return id;
  };
  for (const Tie& tie : tree_->ties) {
    const NodeId owner = find(tie.owner);
    const NodeId alias = find(tie.alias);
    for (const auto& [id, path] : {std::pair(owner, tie.owner), std::pair(alias, tie.alias)}) {
      if (id < 0 || node(id).kind != NodeKind::kParameter) {
        throw FormatError(str_cat("module tree: the tie of \"", tie.owner.substr(0, 80),
                                  "\" and \"", tie.alias.substr(0, 80), "\": \"",
                                  path.substr(0, 80), "\" is not a parameter"));
      }
    }
    if (node(owner).elements != node(alias).elements || node(owner).dtype != node(alias).dtype) {
      throw FormatError(str_cat("module tree: \"", tie.owner, "\" and \"", tie.alias,
                                "\" are tied but differ in size or dtype"));
    }
    const auto [low, high] = std::minmax({first_of(owner), first_of(alias)});
    nodes_[static_cast<std::size_t>(high)].storage = low;
  }
  std::map<NodeId, std::vector<NodeId>> groups;
  for (NodeId id = 0; id < size(); ++id) {
    const NodeId first = first_of(id);
    nodes_[static_cast<std::size_t>(id)].storage = first;
    if (first != id) {
      auto& group = groups[first];
      if (group.empty()) group.push_back(first);
      group.push_back(id);
    }
  }
  for (auto& [first, group] : groups) tied_groups_.push_back(std::move(group));
}

}  // namespace shoehorn
