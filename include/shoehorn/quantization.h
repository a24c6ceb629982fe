// How weights are shrunk to 8 or 4 bits: bitsandbytes' words, as transformers' BitsAndBytesConfig
// has them.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace shoehorn {

/// The members are transformers' own, with its defaults. Where a checkpoint is quantized already,
/// only bnb_4bit_compute_dtype and llm_int8_threshold have an effect.
struct BitsAndBytesConfig {
  /// LLM.int8(): rows in 8 bits, activations too but for their outliers.
  bool load_in_8bit = false;
  /// NF4 or FP4: blocks of 64 values in 4 bits.
  bool load_in_4bit = false;
  /// "fp4" or "nf4", which is the better one for weights.
  std::string bnb_4bit_quant_type = "fp4";
  /// Quantizes the blocks' scales too: 4.13 bits a weight in place of 4.5.
  bool bnb_4bit_use_double_quant = false;
  /// "float32", "bfloat16", "float16"; "int8": activations are quantized on the fly; "auto": the
  /// table in docs/quality.md. Not set: the checkpoint's value, else auto.
  std::optional<std::string> bnb_4bit_compute_dtype = {};
  /// The type that packed bytes are called in a file: uint8, int8, float16, bfloat16, float32,
  /// float64.
  std::string bnb_4bit_quant_storage = "uint8";
  /// Activations at or above it are multiplied in floating point. 0: none. Not set: the
  /// checkpoint's value, else 6.
  std::optional<double> llm_int8_threshold = {};
  /// Modules to leave alone, by the end of their name or a regular expression for its start; beside
  /// the head and what is tied to it.
  std::vector<std::string> llm_int8_skip_modules = {};
  /// The list replaces the default skips, as transformers reads it.
  bool llm_int8_skip_modules_replace = false;
  /// Accepted for the sake of scripts: quantized weights live anywhere without it.
  bool llm_int8_enable_fp32_cpu_offload = false;
  /// int8: weights stay as they are.
  bool llm_int8_has_fp16_weight = false;
};

}  // namespace shoehorn
