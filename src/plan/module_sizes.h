// How many bytes a model takes, per module: accelerate's compute_module_sizes and the one of
// transformers, which differ in what a bool, a tie and a load dtype count.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan/dtype_bytes.h"
#include "plan/plan_tree.h"

namespace shoehorn {

/// Whose rules apply where the two libraries differ.
enum class Flavour { kAccelerate, kTransformers };

struct SizeOptions {
  Flavour flavour = Flavour::kAccelerate;
  /// accelerate: floating tensors count at most this many bytes an element ("float16",
  /// "custom:int4"). Never makes a tensor larger, integers keep their size.
  std::optional<std::string> dtype = {};
  /// accelerate: tensor path → dtype it counts with, whatever its own.
  std::map<std::string, std::string> special_dtypes = {};
  /// transformers: tensor path → bytes per element that a quantizer gives it.
  std::map<std::string, PyNumber> element_size = {};
  /// Names of torch dtypes that DType has no word for, by tensor path.
  std::map<std::string, std::string> own_dtypes = {};
};

/// Bytes of every module and tensor. A tensor met under a second name counts once, under the first.
class ModuleSizes {
 public:
  /// Throws ArgumentError for a dtype that does not exist.
  ModuleSizes(const PlanTree& tree, const SizeOptions& options);

  PyNumber at(NodeId id) const { return bytes_[static_cast<std::size_t>(id)]; }
  PyNumber total() const { return at(0); }
  /// Whether the node counts at all: second names of tied tensors and modules without tensors
  /// have no size, which is not the same as a size of 0.
  bool has(NodeId id) const { return listed_[static_cast<std::size_t>(id)]; }
  /// Nodes that count, in the order the references meet them: parameters with their ancestors in
  /// pre-order, then buffers.
  const std::vector<NodeId>& order() const { return order_; }

  /// Bytes of all buffers below a module, persistent or not. Paths in special_dtypes and
  /// element_size are read relative to the module here, as the references do.
  PyNumber buffer_bytes(NodeId module) const;

 private:
  PyNumber element_bytes(const PlanNode& node, const std::string& path) const;
  PyNumber own_element_bytes(const PlanNode& node) const;
  void add(NodeId tensor);

  const PlanTree* tree_;
  SizeOptions options_;
  std::vector<PyNumber> own_bytes_by_dtype_;  // an element of each DType
  std::vector<bool> keeps_dtype_;             // by DType
  std::vector<PyNumber> bytes_;
  std::vector<bool> listed_;
  std::vector<NodeId> order_;
};

}  // namespace shoehorn
