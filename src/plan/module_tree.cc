#include "plan/module_tree.h"

namespace shoehorn {
namespace {

void append_tensors(const Module& module, const std::string& prefix,
                    std::vector<TreeTensor>& tensors) {
  for (const ParameterSpec& parameter : module.parameters) {
    tensors.push_back(
        {.path = prefix + parameter.name, .shape = parameter.shape, .dtype = parameter.dtype});
  }
  for (const BufferSpec& buffer : module.buffers) {
    tensors.push_back({.path = prefix + buffer.name,
                       .shape = buffer.shape,
                       .dtype = buffer.dtype,
                       .is_buffer = true,
                       .persistent = buffer.persistent});
  }
  for (const auto& [name, child] : module.children) {
    append_tensors(child, prefix + name + ".", tensors);
  }
}

}  // namespace

std::vector<TreeTensor> tree_tensors(const ModuleTree& tree) {
  std::vector<TreeTensor> tensors;
  append_tensors(tree.root, "", tensors);
  return tensors;
}

}  // namespace shoehorn
