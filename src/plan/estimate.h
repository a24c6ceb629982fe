// `inspect`: the table of accelerate's estimate-memory, number for number, with room for columns of
// our own, and the module tree as text.
#pragma once

#include <string>
#include <vector>

#include "plan/dtype_bytes.h"
#include "plan/module_tree.h"
#include "plan/report.h"

namespace shoehorn {

struct EstimateRow {
  std::string dtype;  // float32, float16, int8, int4
  PyNumber largest_layer;
  PyNumber total;
  /// The largest of what training with Adam needs at once; 0 where it is not applicable.
  PyNumber training = {};
  bool can_train = false;
};

/// As accelerate counts: the base model (without its language-model head) in float32, then divided
/// by 1, 2, 4 and 8, integers and buffers too. `base_path` names the base model in the tree, "" the
/// whole tree; tree.no_split_module_classes say what a layer is.
/// Throws ArgumentError where base_path is no module.
std::vector<EstimateRow> estimate_memory(const ModuleTree& tree, const std::string& base_path);

/// The child of the root that holds the decoder layers ("model", "transformer"); "" where the
/// layers are not below one child.
std::string base_model_path(const std::vector<std::string>& layer_paths);

/// A column of ours beside accelerate's: a cell for every row.
struct ExtraColumn {
  std::string title;
  std::vector<std::string> cells;
};

/// The boxed table, titled with the model's name.
std::string estimate_text(const std::vector<EstimateRow>& rows, const std::string& model_name,
                          const std::vector<ExtraColumn>& extra, const TextStyle& style);

}  // namespace shoehorn
