// The module tree as people read it: class, shapes and sizes, equal neighbours written once.
#pragma once

#include <functional>
#include <string>

#include "plan/module_tree.h"
#include "plan/report.h"

namespace shoehorn {

struct TreeTextOptions {
  TextStyle style = {};
  /// Bytes a tensor takes, by path; by default those of its dtype.
  std::function<std::size_t(const std::string& path)> bytes_of = {};
  /// More about a tensor, put behind its shape, such as the type the file stores it in.
  std::function<std::string(const std::string& path)> annotate = {};
};

/// One line a module or group of equal modules:
///   LlamaForCausalLM                                            2.05 GiB
///   └─ model: LlamaModel                                        1.93 GiB
///      └─ layers.0-21: 22 × LlamaDecoderLayer           84.0 MiB each
///         └─ q_proj: Linear  weight [2048, 2048] BF16       8.00 MiB
/// Tied tensors are named as such and counted once.
std::string tree_text(const ModuleTree& tree, const TreeTextOptions& options);

}  // namespace shoehorn
