#include "model/tree_parts.h"

#include <array>
#include <utility>

namespace shoehorn {

Module linear_module(std::int64_t out, std::int64_t in, bool bias, std::string class_name) {
  Module module{.class_name = std::move(class_name), .parameters = {{"weight", Shape{out, in}}}};
  if (bias) module.parameters.push_back({"bias", Shape{out}});
  return module;
}

Module conv1d_module(std::int64_t in, std::int64_t out) {
  return {.class_name = "Conv1D", .parameters = {{"weight", Shape{in, out}}, {"bias", Shape{out}}}};
}

Module embedding_module(std::int64_t rows, std::int64_t width) {
  return {.class_name = "Embedding", .parameters = {{"weight", Shape{rows, width}}}};
}

Module layer_norm_module(std::int64_t width, bool weight, bool bias) {
  Module module{.class_name = "LayerNorm"};
  if (weight) module.parameters.push_back({"weight", Shape{width}});
  if (bias) module.parameters.push_back({"bias", Shape{width}});
  return module;
}

Module norm_module(std::string class_name, std::int64_t width) {
  return {.class_name = std::move(class_name), .parameters = {{"weight", Shape{width}}}};
}

Module plain_module(std::string class_name) {
  return {.class_name = std::move(class_name)};
}

Module rotary_module(std::string class_name, std::int64_t half) {
  return {.class_name = std::move(class_name),
          .buffers = {{"inv_freq", Shape{half}, DType::kF32, false},
                      {"original_inv_freq", Shape{half}, DType::kF32, false}}};
}

std::string activation_class(std::string_view hidden_act) {
  constexpr std::array kClasses = {
      std::pair{std::string_view("silu"), "SiLUActivation"},
      std::pair{std::string_view("swish"), "SiLU"},
      std::pair{std::string_view("gelu"), "GELUActivation"},
      std::pair{std::string_view("gelu_python"), "GELUActivation"},
      std::pair{std::string_view("gelu_new"), "NewGELUActivation"},
      std::pair{std::string_view("gelu_fast"), "FastGELUActivation"},
      std::pair{std::string_view("gelu_pytorch_tanh"), "GELUTanh"},
      std::pair{std::string_view("quick_gelu"), "QuickGELUActivation"},
      std::pair{std::string_view("relu"), "ReLU"},
      std::pair{std::string_view("relu2"), "ReLUSquaredActivation"},
  };
  for (const auto& [name, class_name] : kClasses) {
    if (name == hidden_act) return class_name;
  }
  return "Module";
}

Module module_list(const Module& layer, std::int64_t count) {
  Module list{.class_name = "ModuleList"};
  list.children.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) list.children.emplace_back(std::to_string(i), layer);
  return list;
}

void set_parameter_dtype(Module& module, DType dtype) {
  for (ParameterSpec& parameter : module.parameters) parameter.dtype = dtype;
  // Gemma's is made in the model's type, the frequencies of rotary embeddings are not.
  for (BufferSpec& buffer : module.buffers) {
    if (buffer.name == "embed_scale") buffer.dtype = dtype;
  }
  for (auto& [name, child] : module.children) set_parameter_dtype(child, dtype);
}

}  // namespace shoehorn
