#include "plan/estimate.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "plan/human_size.h"
#include "plan/largest_layer.h"
#include "plan/module_sizes.h"
#include "plan/plan_tree.h"
#include "plan/text_table.h"

namespace shoehorn {
namespace {

void make_float32(Module& module) {
  for (ParameterSpec& parameter : module.parameters) {
    if (is_floating(parameter.dtype) || is_block(parameter.dtype)) parameter.dtype = DType::kF32;
  }
  for (BufferSpec& buffer : module.buffers) {
    if (is_floating(buffer.dtype)) buffer.dtype = DType::kF32;
  }
  for (auto& [name, child] : module.children) make_float32(child);
}

const Module* find_module(const Module& root, std::string_view path) {
  if (path.empty()) return &root;
  const std::size_t dot = std::min(path.find('.'), path.size());
  for (const auto& [name, child] : root.children) {
    if (name == path.substr(0, dot)) {
      return find_module(child, path.substr(std::min(dot + 1, path.size())));
    }
  }
  return nullptr;
}

// The base model as a tree of its own: ties that lead out of it are gone.
ModuleTree base_tree(const ModuleTree& tree, const std::string& base_path) {
  const Module* base = find_module(tree.root, base_path);
  if (base == nullptr) throw ArgumentError(str_cat("estimate: no module ", base_path));
  ModuleTree result{.root = *base, .no_split_module_classes = tree.no_split_module_classes};
  make_float32(result.root);
  const std::string prefix = base_path.empty() ? "" : base_path + ".";
  for (const Tie& tie : tree.ties) {
    if (!tie.owner.starts_with(prefix) || !tie.alias.starts_with(prefix)) continue;
    result.ties.push_back({tie.owner.substr(prefix.size()), tie.alias.substr(prefix.size())});
  }
  return result;
}

PyNumber divided(PyNumber bytes, double by) {
  return by == 1 ? bytes : PyNumber{bytes.value / by, true};  // Python's / gives a float
}

}  // namespace

std::vector<EstimateRow> estimate_memory(const ModuleTree& tree, const std::string& base_path) {
  const ModuleTree base = base_tree(tree, base_path);
  const PlanTree flat(base);
  const ModuleSizes sizes(flat, {.flavour = Flavour::kAccelerate});
  const ClassNames no_split(base.no_split_module_classes.begin(),
                            base.no_split_module_classes.end());
  const PlanNode& root = flat.node(0);
  std::vector<NodeId> queue;
  for (const auto* part : {&root.parameters, &root.children, &root.buffers}) {
    queue.insert(queue.end(), part->begin(), part->end());
  }
  const PyNumber largest = find_largest_layer(flat, queue, sizes, no_split).bytes;
  const PyNumber total = sizes.total();

  std::vector<EstimateRow> rows;
  for (const auto& [dtype, by] : {std::pair("float32", 1.0), std::pair("float16", 2.0),
                                  std::pair("int8", 4.0), std::pair("int4", 8.0)}) {
    EstimateRow row{.dtype = dtype,
                    .largest_layer = divided(largest, by),
                    .total = divided(total, by),
                    .can_train = by <= 2};
    // Adam in float32: weights, gradients and two moments; while it steps four times the weights.
    // In mixed precision the step takes twice the float32 weights.
    if (row.can_train) row.training = total * PyNumber{by == 1 ? 4.0 : 2.0, false};
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string base_model_path(const std::vector<std::string>& layer_paths) {
  std::string base;
  for (const std::string& path : layer_paths) {
    const std::size_t dot = path.find('.');
    // A layer list directly below the root ("layers.0") leaves no base model in between.
    if (dot == std::string::npos || path.find('.', dot + 1) == std::string::npos) return "";
    const std::string first = path.substr(0, dot);
    if (!base.empty() && base != first) return "";
    base = first;
  }
  return base;
}

std::string estimate_text(const std::vector<EstimateRow>& rows, const std::string& model_name,
                          const std::vector<ExtraColumn>& extra, const TextStyle& style) {
  std::vector<std::string> header = {"dtype", "Largest Layer", "Total Size", "Training using Adam"};
  for (const ExtraColumn& column : extra) header.push_back(column.title);
  TextTable table(std::move(header));
  table.set_title(str_cat("Memory to load and run ", model_name));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const EstimateRow& row = rows[i];
    std::vector<std::string> cells = {row.dtype, accelerate_size(row.largest_layer),
                                      accelerate_size(row.total),
                                      row.can_train ? accelerate_size(row.training) : "N/A"};
    for (const ExtraColumn& column : extra) {
      cells.push_back(i < column.cells.size() ? column.cells[i] : "");
    }
    table.add_row(std::move(cells));
  }
  return table.text(style.unicode);
}

}  // namespace shoehorn
