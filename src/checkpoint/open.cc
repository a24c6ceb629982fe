// Opens a model by whatever name the user has for it: finds the file with the weights, has the
// reader of its format check it, and gathers the JSON files that lie beside it.

#include <system_error>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf.h"
#include "checkpoint/model_path.h"
#include "checkpoint/offload_folder.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/shard_index.h"
#include "checkpoint/slow_tokenizer.h"
#include "checkpoint/torch_file.h"
#include "checkpoint/weights_file.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

// Far above what is out there: configs have a few hundred kilobytes where they list labels, the
// largest tokenizer.json has 33 MB.
constexpr std::uint64_t kMaxConfigBytes = 16U << 20;
constexpr std::uint64_t kMaxTokenizerConfigBytes = 64U << 20;
constexpr std::uint64_t kMaxTokenizerBytes = 256U << 20;

// The text of a file that need not be there; empty where it is not.
std::string read_if_there(const fs::path& path, std::uint64_t max_bytes) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return "";
  return read_text_file(path, max_bytes);
}

Checkpoint::Parts open_safetensors(const fs::path& path) {
  Checkpoint::Parts parts;
  parts.format = "safetensors";
  parts.files.emplace_back(path);
  parts.tensors = read_safetensors_header(parts.files.front()).tensors;
  return parts;
}

Checkpoint::Parts open_torch(const fs::path& path) {
  Checkpoint::Parts parts;
  parts.format = "pytorch";
  parts.files.emplace_back(path);
  pickle::TorchTensors torch = read_torch_file(source_of(parts.files.front()));
  parts.tensors = std::move(torch.tensors);
  parts.notes = std::move(torch.notes);
  return parts;
}

Checkpoint::Parts open_weights(const WeightsFile& weights) {
  switch (weights.kind) {
    case WeightsKind::kSafetensors: return open_safetensors(weights.path);
    case WeightsKind::kShardIndex: return open_shards(weights.path);
    case WeightsKind::kTorch: return open_torch(weights.path);
    case WeightsKind::kOffloadFolder: return open_offload_folder(weights.path);
    case WeightsKind::kGguf: return open_gguf(weights.path);
  }
  throw ArgumentError("unknown kind of weights");
}

// A GGUF file brings its own config and tokenizer; safetensors have them as files beside them.
void read_side_files(const fs::path& folder, Checkpoint::Parts& parts) {
  parts.config_json = read_if_there(folder / "config.json", kMaxConfigBytes);
  parts.generation_config_json = read_if_there(folder / "generation_config.json", kMaxConfigBytes);
  parts.tokenizer_json = read_if_there(folder / "tokenizer.json", kMaxTokenizerBytes);
  parts.tokenizer_config_json =
      read_if_there(folder / "tokenizer_config.json", kMaxTokenizerConfigBytes);
  if (parts.tokenizer_json.empty()) {
    // A model can be run by ids: what its tokenizer lacks is told, and text asks for it again.
    try {
      parts.tokenizer_json =
          slow_tokenizer_json(folder, parts.tokenizer_config_json, parts.config_json);
    } catch (const Error& error) {
      parts.notes.push_back(str_cat("there is no tokenizer: ", error.what()));
    }
  }
}

}  // namespace

Checkpoint open_checkpoint(const std::filesystem::path& path, const OpenOptions& options) {
  const fs::path found = resolve_model_path(path.string());
  std::error_code ignored;
  const WeightsFile weights =
      fs::is_directory(found, ignored) ? find_weights(found) : classify_weights(found);
  Checkpoint::Parts parts = open_weights(weights);
  parts.path = path;
  if (weights.kind != WeightsKind::kGguf) read_side_files(weights.path.parent_path(), parts);
  if (!options.config.empty()) {
    parts.config_json = read_text_file(options.config, kMaxConfigBytes);
  }
  parts.notes.insert(parts.notes.begin(), weights.notes.begin(), weights.notes.end());
  if (parts.config_json.empty()) {
    parts.notes.push_back(str_cat("there is no config.json beside ", weights.path.string(),
                                  "; --config FILE names one"));
  }
  return Checkpoint(std::move(parts));
}

}  // namespace shoehorn
