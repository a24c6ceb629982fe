// A LoRA adapter as PEFT saves it: adapter_config.json beside adapter_model.safetensors (or the
// older adapter_model.bin). What it adds to a linear layer is low-rank, W + scale · B A
// (arXiv:2106.09685); some adapters also bring whole tensors that replace the model's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace shoehorn {

/// What adapter_config.json says about how its tensors are used.
struct PeftConfig {
  std::int64_t r = 8;
  double lora_alpha = 8;
  bool use_rslora = false;  // scales by the root of the rank, as arXiv:2312.03732 has it
  /// Regular expressions for the end of a module's name and what holds for it, in the file's order:
  /// the first that matches counts.
  std::vector<std::pair<std::string, std::int64_t>> rank_pattern = {};
  std::vector<std::pair<std::string, double>> alpha_pattern = {};
};

/// adapter_config.json as text; `path` is what messages call it. Throws FormatError naming the key,
/// UnsupportedError for adapters that are no LoRA, and for kinds of LoRA that compute otherwise
/// (DoRA and others), by name.
PeftConfig parse_peft_config(std::string_view text, const std::filesystem::path& path);

/// The rank and the scale (alpha / rank, or alpha / sqrt(rank)) of a module. Throws FormatError for
/// a pattern that is no regular expression.
struct PeftScale {
  std::int64_t rank = 0;
  double scale = 0;
};
PeftScale peft_scale(const PeftConfig& config, std::string_view module,
                     const std::filesystem::path& path);

/// What is added to one linear module: y += scale · (B (A x) + bias).
struct PeftUpdate {
  std::string module;  // of the model: "model.layers.0.self_attn.q_proj"
  PeftScale scale;
  const TensorInfo* a = nullptr;     // [rank, in]
  const TensorInfo* b = nullptr;     // [out, rank]
  const TensorInfo* bias = nullptr;  // [out], or null
};

/// Immutable, thread-safe.
class PeftAdapter {
 public:
  /// Reads headers only. Throws FileError; FormatError naming file and tensor where a module lacks
  /// half of its update or ranks disagree; UnsupportedError.
  explicit PeftAdapter(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  /// The tensors' file.
  const Checkpoint& tensors() const { return tensors_; }
  const std::vector<PeftUpdate>& updates() const { return updates_; }
  /// Tensors that take the place of the model's, by its name for them (modules_to_save, biases that
  /// were trained).
  const std::vector<std::pair<std::string, const TensorInfo*>>& replacements() const {
    return replacements_;
  }

 private:
  void sort_tensors(const PeftConfig& config);

  std::filesystem::path path_;
  Checkpoint tensors_;
  std::vector<PeftUpdate> updates_;
  std::vector<std::pair<std::string, const TensorInfo*>> replacements_;
};

/// `base` with the tensors that the adapters bring in the place of its own; `prefix`: the module
/// that a headless checkpoint was saved from, without which, or with which too many, names are the
/// same. Throws ArgumentError where two adapters replace one tensor, UnsupportedError where it is
/// quantized.
Checkpoint with_replacements(Checkpoint base, const std::vector<const PeftAdapter*>& adapters,
                             std::string_view prefix);

}  // namespace shoehorn
