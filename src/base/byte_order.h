// Little-endian numbers from unaligned bytes: the byte order of every file format we read.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace shoehorn {

static_assert(std::endian::native == std::endian::little,
              "weights are used as stored, which is little-endian");

/// The number that the first sizeof(T) bytes hold. The caller has checked that they are there.
template <typename T>
T read_le(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

inline std::uint64_t read_le64(std::span<const std::byte, 8> bytes) {
  return read_le<std::uint64_t>(bytes.data());
}

}  // namespace shoehorn
