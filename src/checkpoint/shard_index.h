// Sharded checkpoints, of safetensors or PyTorch's files: *.index.json says which file holds which
// tensor. Like accelerate's load_checkpoint_in_model, every tensor of the named files counts,
// listed or not; unlike it, an index that promises a tensor its file does not have is refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace shoehorn {

struct ShardIndex {
  std::vector<std::string> shards;  // file names relative to the index, sorted, each once
  std::vector<std::pair<std::string, std::uint32_t>> weight_map;  // tensor → index into shards
  bool is_torch = false;                                          // the shards are PyTorch's files
};

/// True for the names that PyTorch's files have: .bin, .pt, .pth.
bool has_torch_extension(const std::filesystem::path& file);

/// Parses the text of an index: an object with `weight_map` (tensor → file), or that map itself.
/// Touches no file. Throws FormatError naming `path` for broken JSON, for a tensor that is listed
/// twice, for a file name that leaves the folder and for shards of both kinds.
ShardIndex parse_shard_index(std::string json, const std::filesystem::path& path);

/// Opens the index and every shard beside it; fills `files` and `tensors`. One FormatError lists
/// the shards that are not there, or the tensors that are not where the index says; another names
/// a tensor that two shards hold.
Checkpoint::Parts open_shards(const std::filesystem::path& path);

}  // namespace shoehorn
