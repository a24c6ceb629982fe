// Writes a safetensors file as the reference library lays it out: the same tensors give the same
// bytes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
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

/// A tensor whose bytes come when they are asked for.
struct TensorSource {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  /// Hands all bytes to `sink`, piece by piece, in order.
  std::function<void(const std::function<void(std::span<const std::byte>)>& sink)> produce;

  std::size_t bytes() const { return packed_bytes(dtype, shape.elements()).value(); }
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

/// The same, one tensor at a time: nothing is held in memory but what a source holds. Also throws
/// what sources throw, and ArgumentError where one gives another number of bytes than its shape.
void stream_safetensors(const std::filesystem::path& path, std::span<const TensorSource> tensors,
                        std::span<const std::pair<std::string, std::string>> metadata = {});

}  // namespace shoehorn
