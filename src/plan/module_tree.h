// A model without its weights, what torch calls the meta device: modules with their class names,
// parameters and buffers in registration order, and ties. Built by an architecture from config.json
// alone (src/model), measured and mapped to devices here.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quant/weight_form.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace shoehorn {

struct ParameterSpec {
  std::string name;
  Shape shape;
  DType dtype = DType::kF32;
  /// Shrunk from that dtype to 8 or 4 bits.
  QuantType quant_type = QuantType::kNone;
};

struct BufferSpec {
  std::string name;
  Shape shape;
  DType dtype = DType::kF32;
  bool persistent = true;  // saved in the state_dict
};

struct Module {
  std::string class_name;
  std::vector<ParameterSpec> parameters = {};
  std::vector<BufferSpec> buffers = {};
  std::vector<std::pair<std::string, Module>> children = {};
};

/// Two names of one parameter: `alias` (lm_head.weight) shares the storage of `owner`.
struct Tie {
  std::string owner;
  std::string alias;
};

struct ModuleTree {
  Module root;
  std::vector<Tie> ties = {};
  std::vector<std::string> no_split_module_classes = {};
};

/// One tensor of a tree with its full dotted path, as in Hugging Face's state_dict.
struct TreeTensor {
  std::string path;
  Shape shape;
  DType dtype = DType::kF32;
  bool is_buffer = false;
  bool persistent = true;
  QuantType quant_type = QuantType::kNone;

  /// Bytes as transformers counts them: packed values without their scales.
  std::size_t bytes() const;
};

/// Bytes of parameters and buffers, tied ones once: transformers' get_memory_footprint, which does
/// not count the scales of quantized weights.
std::size_t memory_footprint(const ModuleTree& tree);

/// Every parameter and buffer: modules in pre-order, each one's parameters, then its buffers.
std::vector<TreeTensor> tree_tensors(const ModuleTree& tree);

}  // namespace shoehorn
