// For tests only: zip archives and pickles with any content one likes, sound or hostile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/testing_gguf.h"

namespace shoehorn::testing {

/// An entry of a zip archive; what is given beside name and content are lies.
struct ZipPart {
  std::string name;
  std::string content;
  std::optional<std::string> local_name = std::nullopt;
  std::uint16_t method = 0;
  std::uint16_t flags = 0;
  std::optional<std::uint32_t> claimed_bytes = std::nullopt;
  std::optional<std::uint32_t> local_offset = std::nullopt;
};

/// A zip archive of stored entries; with `zip64` all sizes and offsets stand in zip64 fields.
inline std::string zip_file(const std::vector<ZipPart>& parts, bool zip64 = false) {
  const auto u16 = [](std::size_t value) { return le_bytes(static_cast<std::uint16_t>(value)); };
  const auto u32 = [](std::size_t value) { return le_bytes(static_cast<std::uint32_t>(value)); };
  std::string file;
  std::string directory;
  for (const ZipPart& part : parts) {
    const std::size_t offset = part.local_offset.value_or(static_cast<std::uint32_t>(file.size()));
    const std::size_t bytes = part.claimed_bytes.value_or(part.content.size());
    const std::string local_name = part.local_name.value_or(part.name);
    file += "PK\x03\x04" + u16(20) + u16(part.flags) + u16(part.method) + u32(0) + u32(0) +
            u32(bytes) + u32(bytes) + u16(local_name.size()) + u16(0) + local_name + part.content;
    const std::string extra = zip64 ? u16(1) + u16(24) + le_bytes<std::uint64_t>(bytes) +
                                          le_bytes<std::uint64_t>(bytes) +
                                          le_bytes<std::uint64_t>(offset)
                                    : "";
    const std::string sizes = zip64 ? std::string(8, '\xff') : u32(bytes) + u32(bytes);
    directory += "PK\x01\x02" + u16(20) + u16(20) + u16(part.flags) + u16(part.method) + u32(0) +
                 u32(0) + sizes + u16(part.name.size()) + u16(extra.size()) + u16(0) + u16(0) +
                 u16(0) + u32(0) + (zip64 ? std::string(4, '\xff') : u32(offset)) + part.name +
                 extra;
  }
  const std::size_t at = file.size();
  file += directory;
  if (zip64) {
    const std::size_t record = file.size();
    file += "PK\x06\x06" + le_bytes<std::uint64_t>(44) + u16(45) + u16(45) + u32(0) + u32(0) +
            le_bytes<std::uint64_t>(parts.size()) + le_bytes<std::uint64_t>(parts.size()) +
            le_bytes<std::uint64_t>(directory.size()) + le_bytes<std::uint64_t>(at);
    file += "PK\x06\x07" + u32(0) + le_bytes<std::uint64_t>(record) + u32(1);
  }
  return file + "PK\x05\x06" + u16(0) + u16(0) + u16(parts.size()) + u16(parts.size()) +
         u32(directory.size()) + u32(at) + u16(0);
}

/// Pieces of pickles.
namespace pkl {

inline std::string text(std::string_view value) {
  return "X" + le_bytes(static_cast<std::uint32_t>(value.size())) + std::string(value);
}
inline std::string integer(std::int32_t value) {
  return "J" + le_bytes(value);
}
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string tuple(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
inline std::string integers(const std::vector<std::int32_t>& values) {
  std::vector<std::string> items;
  items.reserve(values.size());
  for (const std::int32_t value : values) items.push_back(integer(value));
  return tuple(items);
}
inline std::string storage(const std::string& type, const std::string& key, std::int32_t numel,
                           const std::string& location = "cpu") {
  return tuple(
             {text("storage"), global("torch", type), text(key), text(location), integer(numel)}) +
         "Q";
}
inline std::string tensor(const std::string& storage, std::int32_t offset,
                          const std::vector<std::int32_t>& size,
                          const std::vector<std::int32_t>& stride) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple({storage, integer(offset), integers(size), integers(stride), "\x89",
                global("collections", "OrderedDict") + ")R"}) +
         "R";
}
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string all = "}(";
  for (const auto& [key, value] : items) all += text(key) + value;
  return all + "u";
}
inline std::string file(const std::string& body) {
  return "\x80\x02" + body + ".";
}

}  // namespace pkl

/// What torch.save writes of `data_pkl` (without PROTO and STOP) and storages by their keys.
inline std::string torch_zip(const std::string& data_pkl,
                             const std::vector<std::pair<std::string, std::string>>& storages) {
  std::vector<ZipPart> parts = {{"m/data.pkl", pkl::file(data_pkl)}, {"m/byteorder", "little"}};
  for (const auto& [key, bytes] : storages) parts.push_back({"m/data/" + key, bytes});
  return zip_file(parts);
}

}  // namespace shoehorn::testing
