// The container of GGUF v2 and v3: header, metadata, tensor infos, alignment. Little-endian only.
// Every number of the file is held against what the file has room for before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "checkpoint/gguf_metadata.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace shoehorn::gguf {

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
Header read_header(const ByteSource& source);

}  // namespace shoehorn::gguf
