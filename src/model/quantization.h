// Which modules are quantized, into what, and why the others are not: transformers' rules
// (get_keys_to_not_convert, should_convert_module) on a module tree.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "shoehorn/quantization.h"

#include "plan/module_tree.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// What is done with one linear module.
struct LinearDecision {
  bool quantize = false;
  std::string reason;  // why not: "the output head", "llm_int8_skip_modules: q_proj"
};

/// A decision for every linear module, by its path. Skipped are, with
/// `llm_int8_skip_modules_replace` only where the list says so: the output head (the last
/// parameter's module, and a module called lm_head), what is tied to anything, and whatever a
/// pattern of llm_int8_skip_modules matches: as a regular expression from the start of the path to
/// a dot or its end, or literally at its end. Throws ArgumentError for a pattern that is no regular
/// expression.
std::map<std::string, LinearDecision> decide_linears(const ModuleTree& tree,
                                                     const BitsAndBytesConfig& config);

/// The same for a module that is no Linear, but is quantized like one: the experts of a layer.
LinearDecision decide_module(const std::string& path, const BitsAndBytesConfig& config);

/// The form that the configuration asks for; kNone where neither width is asked for.
WeightForm quantized_form(const BitsAndBytesConfig& config, DType load_dtype);

/// How products are computed: the user's setting, else the checkpoint's, else what `auto` stands
/// for. `bnb_cpu_constant` is left at its default.
WeightCompute weight_compute(const BitsAndBytesConfig* user, const BitsAndBytesConfig* checkpoint,
                             QuantType type);

}  // namespace shoehorn
