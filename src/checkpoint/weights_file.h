// Which file holds the weights: what a folder is opened by, and what kind a single file is.
// accelerate takes pytorch_model.bin before model.safetensors; we take safetensors first and say
// what else was there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace shoehorn {

enum class WeightsKind { kSafetensors, kShardIndex, kTorch, kOffloadFolder, kGguf };

struct WeightsFile {
  WeightsKind kind = WeightsKind::kSafetensors;
  std::filesystem::path path;
  std::vector<std::string> notes;  // what was passed over
};

/// The weights of a folder: model.safetensors, else model.safetensors.index.json, else the only
/// other *.index.json, else pytorch_model.bin, else pytorch_model.bin.index.json, else the only
/// .gguf file or set of parts, else the index.json of an offload folder. Throws FormatError where
/// several are equally good or nothing is there.
WeightsFile find_weights(const std::filesystem::path& folder);

/// Whether a folder has a file that could be weights; false where it cannot be read.
bool has_weights(const std::filesystem::path& folder);

/// The kind of a single file by its name, else by its first bytes. Throws FileError and FormatError
/// likewise.
WeightsFile classify_weights(const std::filesystem::path& file);

}  // namespace shoehorn
