// The folders that Accelerate offloads weights to (offload_state_dict, disk_offload): index.json
// names every tensor's dtype and shape, NAME.dat holds its values and nothing else. Entries that
// transformers left in a safetensors file are read from there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace shoehorn {

struct OffloadEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::filesystem::path safetensors_file;  // empty: the values are in NAME.dat
  std::string weight_name;                 // in that file
};

/// Parses the text of an index.json, in the order of names. Touches no file. Throws FormatError
/// naming `path` and the entry for broken JSON, unknown dtypes, shapes that overflow and names that
/// would leave the folder.
std::vector<OffloadEntry> parse_offload_index(const std::string& json,
                                              const std::filesystem::path& path);

/// Opens every tensor's file beside index.json; fills `files` and `tensors`. Throws FileError where
/// one is missing, FormatError where it is not as long as its entry says.
Checkpoint::Parts open_offload_folder(const std::filesystem::path& index);

}  // namespace shoehorn
