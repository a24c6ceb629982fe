// The container of GGUF v2 and v3: header, metadata, tensor infos, alignment. Little-endian only.
// Every number of the file is held against what the file has room for before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/gguf_metadata.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace shoehorn::gguf {

/// Where a header is read from: a file, or bytes in memory (tests, fuzzing).
struct Source {
  std::filesystem::path path;  // for messages
  std::uint64_t size = 0;
  std::function<void(std::uint64_t offset, std::span<std::byte> out)> read_at;
};

/// The file and the bytes must outlive the source.
Source source_of(const File& file);
Source source_of(std::filesystem::path path, std::span<const std::byte> bytes);

/// A tensor under its GGUF name.
struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;               // torch's order: GGUF's dimensions reversed
  std::uint64_t offset = 0;  // from the start of the file
  std::size_t bytes = 0;
};

struct Header {
  std::uint32_t version = 0;
  Metadata metadata;
  std::vector<TensorEntry> tensors;  // by offset; names unique, ranges inside the file and disjoint
};

/// Reads header, metadata and tensor infos. Throws FormatError naming file, key or tensor where the
/// file breaks its format (truncated, counts that claim more than the file holds, shapes that
/// overflow, duplicate names, ranges outside the file, overlapping or off the alignment), and
/// UnsupportedError for version 1, big-endian files and tensor types that shoehorn does not know.
/// Allocates a small multiple of the header's size at most.
Header read_header(const Source& source);

}  // namespace shoehorn::gguf
