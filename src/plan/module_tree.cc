#include "plan/module_tree.h"

#include <algorithm>

namespace shoehorn {
namespace {

void append_tensors(const Module& module, const std::string& prefix,
                    std::vector<TreeTensor>& tensors) {
  for (const ParameterSpec& parameter : module.parameters) {
    tensors.push_back({.path = prefix + parameter.name,
                       .shape = parameter.shape,
                       .dtype = parameter.dtype,
                       .quant_type = parameter.quant_type});
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

std::size_t TreeTensor::bytes() const {
  const std::int64_t elements = shape.elements();
  if (quant_type == QuantType::kInt8 || quant_type == QuantType::kF8Tiles)
    return static_cast<std::size_t>(elements);
  if (quant_type != QuantType::kNone) return static_cast<std::size_t>((elements + 1) / 2);
  return packed_bytes(dtype, elements).value();
}

std::size_t memory_footprint(const ModuleTree& tree) {
  std::size_t bytes = 0;
  for (const TreeTensor& tensor : tree_tensors(tree)) {
    const bool alias = std::ranges::find(tree.ties, tensor.path, &Tie::alias) != tree.ties.end();
    if (!alias) bytes += tensor.bytes();
  }
  return bytes;
}

std::vector<TreeTensor> tree_tensors(const ModuleTree& tree) {
  std::vector<TreeTensor> tensors;
  append_tensors(tree.root, "", tensors);
  return tensors;
}

}  // namespace shoehorn
