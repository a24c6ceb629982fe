#include "base/byte_source.h"

#include <cstring>
#include <utility>

namespace shoehorn {

ByteSource source_of(const File& file) {
  return {.path = file.path(),
          .size = file.size(),
          .read_at = [&file](std::uint64_t offset, std::span<std::byte> out) {
            file.read_at(offset, out);
          }};
}

ByteSource source_of(std::filesystem::path path, std::span<const std::byte> bytes) {
  return {.path = std::move(path),
          .size = bytes.size(),
          .read_at = [bytes](std::uint64_t offset, std::span<std::byte> out) {
            if (!out.empty()) std::memcpy(out.data(), bytes.data() + offset, out.size());
          }};
}

}  // namespace shoehorn
