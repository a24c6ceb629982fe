// Writes a safetensors file as the reference library lays it out: the same tensors give the same
// bytes.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace shoehorn {

struct NamedTensor {
  std::string name;
  TensorView view;  // in host memory
};

/// Writes `tensors`, and `metadata` (string → string, such as {"format", "pt"}) where there is any.
/// In the file: 8 bytes little-endian header length; the header, JSON in UTF-8, padded with spaces
/// to a multiple of 8; the data, types of wide alignment first, then by name.
///
/// The file appears under its name when it is complete: an error or a crash leaves what was there
/// before. What is not a regular file (/dev/stdout) is written to directly.
///
/// Throws ArgumentError for a name that is used twice or is "__metadata__", for a type that the
/// format does not know, and for a tensor whose bytes are not in host memory; FileError.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       std::span<const std::pair<std::string, std::string>> metadata = {});

}  // namespace shoehorn
