// A checkpoint of known bytes for tests: tensors one after the other in a file of its own.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace shoehorn::testing {

struct StoredTensor {
  std::string name;
  DType dtype;
  Shape shape;
  RowOrder row_order = {};
};

/// Writes finite pseudo-random values for every tensor to `path` and opens them.
inline std::unique_ptr<Checkpoint> make_checkpoint(const std::filesystem::path& path,
                                                   const std::vector<StoredTensor>& tensors) {
  std::mt19937 random(7);
  std::ofstream file(path, std::ios::binary);
  std::vector<TensorInfo> infos;
  std::uint64_t offset = 0;
  for (const StoredTensor& tensor : tensors) {
    std::vector<std::byte> bytes(packed_bytes(tensor.dtype, tensor.shape.elements()).value());
    // A clear top exponent bit in every 16-bit word keeps F32, F16 and BF16 values finite.
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::byte>(random() & (i % 2 == 1 ? 0xBFU : 0xFFU));
    }
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    infos.push_back({.name = tensor.name,
                     .dtype = tensor.dtype,
                     .shape = tensor.shape,
                     .file = 0,
                     .offset = offset,
                     .bytes = bytes.size(),
                     .row_order = tensor.row_order});
    offset += bytes.size();
  }
  file.close();
  Checkpoint::Parts parts;
  parts.path = path;
  parts.format = "test";
  parts.files.emplace_back(path);
  parts.tensors = std::move(infos);
  return std::make_unique<Checkpoint>(std::move(parts));
}

}  // namespace shoehorn::testing
