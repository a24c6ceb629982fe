// A module tree laid out flat for planning: one node for every module and tensor, numbered so that
// whatever lies below a module is one range of numbers. Paths are built once, here.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "plan/module_tree.h"

namespace shoehorn {

enum class NodeKind { kModule, kParameter, kBuffer };

/// Number of a node; the root is 0. A module comes before its parameters, its buffers and then its
/// children, so ids grow along the pre-order walk.
using NodeId = int;

struct PlanNode {
  std::string path;  // "" for the root
  NodeKind kind = NodeKind::kModule;
  NodeId parent = -1;
  NodeId end = 0;  // everything below this node is [id + 1, end)
  // tensors
  DType dtype = DType::kF32;
  double elements = 0;
  bool persistent = true;
  NodeId storage = 0;  // the first node that shares its storage; itself where nothing does
  // modules
  std::string_view class_name;
  std::vector<NodeId> parameters;
  std::vector<NodeId> buffers;
  std::vector<NodeId> children;

  bool is_module() const { return kind == NodeKind::kModule; }
};

/// Immutable. Borrows class names from the ModuleTree, which must outlive it.
class PlanTree {
 public:
  /// Throws FormatError for empty, dotted, overlong or repeated names, for modules nested too
  /// deeply, and for ties whose names are no parameters of the same shape and dtype.
  explicit PlanTree(const ModuleTree& tree);

  const ModuleTree& module_tree() const { return *tree_; }
  int size() const { return static_cast<int>(nodes_.size()); }
  const PlanNode& node(NodeId id) const { return nodes_[static_cast<std::size_t>(id)]; }
  /// The node with this path, or -1.
  NodeId find(std::string_view path) const;
  /// Whether `id` is `module` or lies below it.
  bool contains(NodeId module, NodeId id) const { return id >= module && id < node(module).end; }

  /// Parameters that are one tensor, each group in order of its first member, members by id.
  const std::vector<std::vector<NodeId>>& tied_groups() const { return tied_groups_; }

 private:
  void add_module(const Module& module, std::string path, NodeId parent, int depth);
  void add_tensor(NodeKind kind, const std::string& prefix, const std::string& name,
                  const Shape& shape, DType dtype, bool persistent, NodeId parent);
  NodeId add_node(PlanNode node);
  void join_ties();

  const ModuleTree* tree_;
  std::vector<PlanNode> nodes_;
  std::unordered_map<std::string_view, NodeId>
      index_;  // views into nodes_, made when it is complete
  std::vector<std::vector<NodeId>> tied_groups_;
};

}  // namespace shoehorn
