#include "model/quantization.h"

#include <optional>
#include <string_view>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/regex.h"

namespace shoehorn {
namespace {

/// One entry of llm_int8_skip_modules.
class SkipPattern {
 public:
  explicit SkipPattern(const std::string& text) : text_(text), regex_(compile(text)) {}

  bool matches(const std::string& path) const {
    if (path.ends_with(text_)) return true;
    text::RegexSearch search(regex_);
    search.start(path);
    text::RegexMatch match;
    return search.next(match);
  }
  const std::string& text() const { return text_; }

 private:
  static text::Regex compile(const std::string& text) {
    try {
      return text::Regex("^(?:" + text + ")(?:\\.|$)");
    } catch (const Error& error) {
      throw ArgumentError(str_cat("llm_int8_skip_modules: \"", text, "\": ", error.what()));
    }
  }

  std::string text_;
  text::Regex regex_;
};

/// What transformers replaces by a quantized layer: torch's Linear, what derives from it, Conv1D.
bool is_linear(std::string_view class_name) {
  return class_name == "Linear" || class_name == "FalconLinear" || class_name == "Conv1D";
}

/// Every linear module's path, and the module of the last parameter.
struct Linears {
  std::vector<std::string> paths;
  std::string last_module;
};

void collect(const Module& module, const std::string& path, Linears& found) {
  if (is_linear(module.class_name)) found.paths.push_back(path);
  if (!module.parameters.empty()) found.last_module = path;
  for (const auto& [name, child] : module.children) {
    collect(child, path.empty() ? name : path + "." + name, found);
  }
}

std::string module_of(const std::string& parameter) {
  const std::size_t dot = parameter.rfind('.');
  return dot == std::string::npos ? std::string() : parameter.substr(0, dot);
}

/// Why a module is skipped by default; empty where it is not.
std::string default_reason(const std::string& path, const ModuleTree& tree,
                           const std::string& last_module) {
  for (const Tie& tie : tree.ties) {
    if (module_of(tie.alias) == path) return "tied to " + tie.owner;
    if (module_of(tie.owner) == path) return "tied to " + tie.alias;
  }
  if (path == last_module || path == "lm_head" || path.ends_with(".lm_head")) {
    return "the output head";
  }
  return "";
}

std::string pattern_reason(const std::string& path, const std::vector<SkipPattern>& patterns) {
  for (const SkipPattern& pattern : patterns) {
    if (pattern.matches(path)) return "llm_int8_skip_modules: " + pattern.text();
  }
  return "";
}

/// What `auto` picks: docs/quality.md has the figures behind it.
ComputeDtype auto_compute(QuantType type) {
  return type == QuantType::kNF4 ? ComputeDtype::kInt8 : ComputeDtype::kF32;
}

ComputeDtype compute_dtype(const std::string& name, QuantType type) {
  for (const ComputeDtype dtype :
       {ComputeDtype::kF32, ComputeDtype::kBF16, ComputeDtype::kF16, ComputeDtype::kInt8}) {
    if (to_string(dtype) == name) return dtype;
  }
  return auto_compute(type);
}

}  // namespace

LinearDecision decide_module(const std::string& path, const BitsAndBytesConfig& config) {
  std::string reason;
  if (!config.load_in_4bit && !config.load_in_8bit) reason = "no quantization was asked for";
  if (config.load_in_8bit && config.llm_int8_has_fp16_weight) {
    reason = "llm_int8_has_fp16_weight keeps the stored weights";
  }
  for (const std::string& text : config.llm_int8_skip_modules) {
    if (!reason.empty()) break;
    const SkipPattern pattern(text);
    if (pattern.matches(path)) reason = "llm_int8_skip_modules: " + text;
  }
  return {.quantize = reason.empty(), .reason = reason};
}

std::map<std::string, LinearDecision> decide_linears(const ModuleTree& tree,
                                                     const BitsAndBytesConfig& config) {
  Linears linears;
  collect(tree.root, "", linears);
  std::vector<SkipPattern> patterns;
  for (const std::string& text : config.llm_int8_skip_modules) patterns.emplace_back(text);
  const bool keeps_defaults =
      !config.llm_int8_skip_modules_replace || config.llm_int8_skip_modules.empty();
  const bool any_width = config.load_in_4bit || config.load_in_8bit;
  std::map<std::string, LinearDecision> decisions;
  for (const std::string& path : linears.paths) {
    std::string reason = any_width ? "" : "no quantization was asked for";
    if (config.load_in_8bit && config.llm_int8_has_fp16_weight) {
      reason = "llm_int8_has_fp16_weight keeps the stored weights";
    }
    if (reason.empty() && keeps_defaults) reason = default_reason(path, tree, linears.last_module);
    if (reason.empty()) reason = pattern_reason(path, patterns);
    decisions[path] = {.quantize = reason.empty(), .reason = reason};
  }
  return decisions;
}

WeightForm quantized_form(const BitsAndBytesConfig& config, DType load_dtype) {
  if (config.load_in_8bit) return {.quant_type = QuantType::kInt8, .dtype = load_dtype};
  if (!config.load_in_4bit) return {.dtype = load_dtype};
  return {.quant_type = config.bnb_4bit_quant_type == "nf4" ? QuantType::kNF4 : QuantType::kFP4,
          .dtype = load_dtype,
          .nested = config.bnb_4bit_use_double_quant};
}

WeightCompute weight_compute(const BitsAndBytesConfig* user, const BitsAndBytesConfig* checkpoint,
                             QuantType type) {
  WeightCompute compute;
  std::string dtype = "auto";
  double threshold = 6.0;
  for (const BitsAndBytesConfig* config : {checkpoint, user}) {
    if (config == nullptr) continue;
    dtype = config->bnb_4bit_compute_dtype.value_or(dtype);
    threshold = config->llm_int8_threshold.value_or(threshold);
  }
  compute.dtype = compute_dtype(dtype, type);
  compute.llm_int8_threshold = static_cast<float>(threshold);
  return compute;
}

}  // namespace shoehorn
