#include "checkpoint/quantization_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn {
namespace {

constexpr std::array<std::string_view, 14> kKnownKeys = {
    "_load_in_4bit",
    "_load_in_8bit",
    "bnb_4bit_compute_dtype",
    "bnb_4bit_quant_storage",
    "bnb_4bit_quant_type",
    "bnb_4bit_use_double_quant",
    "llm_int8_enable_fp32_cpu_offload",
    "llm_int8_has_fp16_weight",
    "llm_int8_skip_modules",
    "llm_int8_threshold",
    "load_in_4bit",
    "load_in_8bit",
    "quant_method",
    "modules_to_not_convert",
};

std::string without_torch(std::string name) {
  return name.starts_with("torch.") ? name.substr(6) : name;
}

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// Whether bitsandbytes' settings are what the block holds. 8-bit floats and MXFP4 have none: what
/// they are made of says the rest (f8_tensor.h, mxfp4_tensor.h).
bool is_bitsandbytes(const Config& config) {
  const bool loads = config.boolean("load_in_4bit", false) || config.boolean("load_in_8bit", false);
  const std::string method = config.text("quant_method", loads ? "bitsandbytes" : "");
  // Old versions told the two widths apart here.
  if (method == "bitsandbytes" || method == "bitsandbytes_4bit" || method == "bitsandbytes_8bit") {
    return true;
  }
  if (method == "fp8" || method == "mxfp4") return false;
  throw UnsupportedError(
      str_cat(config.path().string(), ": quantization_config.quant_method is \"", printable(method),
              "\"; shoehorn reads bitsandbytes (int8, nf4, fp4), fp8 in tiles, mxfp4, GGUF files, "
              "and checkpoints that are not quantized"));
}

}  // namespace

std::optional<BitsAndBytesConfig> parse_quantization_config(const Config& config,
                                                            std::vector<std::string>* notes) {
  std::optional<Config> block = config.find_child("quantization_config");
  if (!block) {
    const auto text = config.find_child("text_config");
    if (text) block = text->find_child("quantization_config");
  }
  if (!block) return std::nullopt;
  if (!is_bitsandbytes(*block)) return std::nullopt;
  BitsAndBytesConfig result;
  result.load_in_4bit = block->boolean("load_in_4bit", block->boolean("_load_in_4bit", false));
  result.load_in_8bit = block->boolean("load_in_8bit", block->boolean("_load_in_8bit", false));
  result.bnb_4bit_quant_type = block->text("bnb_4bit_quant_type", "fp4");
  result.bnb_4bit_use_double_quant = block->boolean("bnb_4bit_use_double_quant", false);
  result.bnb_4bit_compute_dtype = without_torch(block->text("bnb_4bit_compute_dtype", "float32"));
  result.bnb_4bit_quant_storage = without_torch(block->text("bnb_4bit_quant_storage", "uint8"));
  result.llm_int8_threshold = block->number("llm_int8_threshold", 6.0);
  result.llm_int8_skip_modules = block->texts("llm_int8_skip_modules");
  result.llm_int8_has_fp16_weight = block->boolean("llm_int8_has_fp16_weight", false);
  for (const std::string& key : block->keys()) {
    if (notes != nullptr && !contains(kKnownKeys, key)) {
      notes->push_back(
          str_cat("quantization_config: ", printable(key), " is not known and ignored"));
    }
  }
  if (const auto problem = find_quantization_problem(result)) {
    throw FormatError(config.path(), "quantization_config: " + *problem);
  }
  return result;
}

std::optional<std::string> find_quantization_problem(const BitsAndBytesConfig& config) {
  constexpr std::array<std::string_view, 5> kCompute = {"auto", "float32", "bfloat16", "float16",
                                                        "int8"};
  constexpr std::array<std::string_view, 6> kStorage = {"uint8",    "int8",    "float16",
                                                        "bfloat16", "float32", "float64"};
  if (config.load_in_4bit && config.load_in_8bit) {
    return "load_in_4bit and load_in_8bit exclude each other";
  }
  const std::string& type = config.bnb_4bit_quant_type;
  if (type != "nf4" && type != "fp4") {
    return str_cat("bnb_4bit_quant_type \"", printable(type), "\" is not one of nf4, fp4");
  }
  if (config.bnb_4bit_compute_dtype && !contains(kCompute, *config.bnb_4bit_compute_dtype)) {
    return str_cat("bnb_4bit_compute_dtype \"", printable(*config.bnb_4bit_compute_dtype),
                   "\" is not one of auto, float32, bfloat16, float16, int8");
  }
  if (!contains(kStorage, config.bnb_4bit_quant_storage)) {
    return str_cat("bnb_4bit_quant_storage \"", printable(config.bnb_4bit_quant_storage),
                   "\" is not one of uint8, int8, float16, bfloat16, float32, float64");
  }
  const double threshold = config.llm_int8_threshold.value_or(6.0);
  if (!std::isfinite(threshold) || threshold < 0) return "llm_int8_threshold must be 0 or more";
  return std::nullopt;
}

}  // namespace shoehorn
