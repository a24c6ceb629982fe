// Bytes that a parser reads at offsets of its choice: of a file, or in memory (tests, fuzzing).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "base/file.h"

namespace shoehorn {

struct ByteSource {
  std::filesystem::path path;  // for messages
  std::uint64_t size = 0;
  /// Fills `out` with the bytes from `offset` on; the caller has made sure that they are there.
  std::function<void(std::uint64_t offset, std::span<std::byte> out)> read_at;
};

/// The file and the bytes must outlive the source.
ByteSource source_of(const File& file);
ByteSource source_of(std::filesystem::path path, std::span<const std::byte> bytes);

}  // namespace shoehorn
