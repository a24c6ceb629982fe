#include "api/small_files.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/written_file.h"
#include "checkpoint/model_path.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;  // sorts its keys

constexpr std::uintmax_t kMostCopiedBytes = std::uintmax_t{256} << 20;

void write_text(const fs::path& path, const std::string& text) {
  WrittenFile file(path);
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

/// transformers writes the names of torch's types alone.
std::string torch_compute_dtype(const BitsAndBytesConfig& config) {
  const std::string name = config.bnb_4bit_compute_dtype.value_or("float32");
  return name == "bfloat16" || name == "float16" ? name : "float32";
}

Json skip_list(const ResolvedModel& model, const BitsAndBytesConfig& config) {
  if (config.llm_int8_skip_modules.empty()) return nullptr;
  std::vector<std::string> names = config.llm_int8_skip_modules;
  if (!config.llm_int8_skip_modules_replace) {
    for (const auto& [path, reason] : model.kept_linears) {
      if (!reason.starts_with("llm_int8_skip_modules")) names.push_back(path);
    }
  }
  return names;
}

Json quantization_json(const ResolvedModel& model, const BitsAndBytesConfig& config) {
  return {{"_load_in_4bit", config.load_in_4bit},
          {"_load_in_8bit", config.load_in_8bit},
          {"bnb_4bit_compute_dtype", torch_compute_dtype(config)},
          {"bnb_4bit_quant_storage", config.bnb_4bit_quant_storage},
          {"bnb_4bit_quant_type", config.bnb_4bit_quant_type},
          {"bnb_4bit_use_double_quant", config.bnb_4bit_use_double_quant},
          {"llm_int8_enable_fp32_cpu_offload", config.llm_int8_enable_fp32_cpu_offload},
          {"llm_int8_has_fp16_weight", config.llm_int8_has_fp16_weight},
          {"llm_int8_skip_modules", skip_list(model, config)},
          {"llm_int8_threshold", config.llm_int8_threshold.value_or(6.0)},
          {"load_in_4bit", config.load_in_4bit},
          {"load_in_8bit", config.load_in_8bit},
          {"quant_method", "bitsandbytes"}};
}

bool holds_weights(const fs::path& path) {
  constexpr std::array<std::string_view, 10> kEndings = {
      ".safetensors", ".bin", ".gguf", ".pt",         ".pth",
      ".h5",          ".dat", ".onnx", ".index.json", ".msgpack"};
  const std::string name = path.filename().string();
  return name == "index.json" ||
         std::ranges::any_of(kEndings, [&](std::string_view end) { return name.ends_with(end); });
}

}  // namespace

std::string written_config_json(const Checkpoint& checkpoint, const ResolvedModel& model,
                                const BitsAndBytesConfig* config, const std::string& dtype) {
  Json json = Json::parse(checkpoint.config_json());
  const bool old_name = json.contains("torch_dtype") && !json.contains("dtype");
  json[old_name ? "torch_dtype" : "dtype"] = dtype;
  // A head that an adapter brought, or that differs, is written beside the embedding: transformers
  // would tie it again.
  if (config == nullptr && model.tree.ties.empty() && json.contains("tie_word_embeddings")) {
    json["tie_word_embeddings"] = false;
  }
  json.erase("quantization_config");
  json.erase("norm_weights_include_one");  // what is written does not
  if (config != nullptr) json["quantization_config"] = quantization_json(model, *config);
  return json.dump(2, ' ', /*ensure_ascii=*/true) + "\n";
}

void copy_small_files(const Checkpoint& checkpoint, const std::filesystem::path& out) {
  const fs::path model = resolve_model_path(checkpoint.path().string());
  if (checkpoint.format() == "gguf" || !fs::is_directory(model)) {
    const std::pair<const char*, const std::string&> parts[] = {
        {"generation_config.json", checkpoint.generation_config_json()},
        {"tokenizer.json", checkpoint.tokenizer_json()},
        {"tokenizer_config.json", checkpoint.tokenizer_config_json()}};
    for (const auto& [name, text] : parts) {
      if (!text.empty()) write_text(out / name, text);
    }
    return;
  }
  for (const auto& entry : fs::directory_iterator(model)) {
    const bool wanted = entry.is_regular_file() && entry.path().filename() != "config.json" &&
                        !holds_weights(entry.path()) && entry.file_size() <= kMostCopiedBytes;
    if (wanted) fs::copy_file(entry.path(), out / entry.path().filename());
  }
}

}  // namespace shoehorn
