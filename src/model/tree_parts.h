// Modules that many module trees are made of. Parameters are float32 until set_parameter_dtype().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "plan/module_tree.h"

namespace shoehorn {

/// weight [out, in], and bias [out] where it has one.
Module linear_module(std::int64_t out, std::int64_t in, bool bias,
                     std::string class_name = "Linear");

/// transformers' Conv1D of GPT-2: weight [in, out], bias [out].
Module conv1d_module(std::int64_t in, std::int64_t out);

Module embedding_module(std::int64_t rows, std::int64_t width);

/// torch.nn.LayerNorm.
Module layer_norm_module(std::int64_t width, bool weight = true, bool bias = true);

/// One vector of weights.
Module norm_module(std::string class_name, std::int64_t width);

/// Without parameters: "Dropout", activations.
Module plain_module(std::string class_name);

/// A rotary embedding as transformers 5 has it: two buffers of `half` frequencies, not saved.
Module rotary_module(std::string class_name, std::int64_t half);

/// The class that transformers makes of a config's hidden_act.
std::string activation_class(std::string_view hidden_act);

/// `count` copies of a layer, named by their number.
Module module_list(const Module& layer, std::int64_t count);

/// Of all parameters below, and of the buffers that transformers gives the model's type.
void set_parameter_dtype(Module& module, DType dtype);

}  // namespace shoehorn
