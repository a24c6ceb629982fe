// The header of a safetensors file: 8 bytes little-endian length, that many bytes of JSON that name
// each tensor's dtype, shape and byte range, then the data. Checked as strictly as the reference
// library does (`SafeTensorError`): a file that passes here can be read without a second look.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor_info.h"

namespace shoehorn {

/// The reference library refuses longer headers; 100,000 tensors take about 12 MB.
inline constexpr std::uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;                            // by offset, which counts from byte 0
  std::vector<std::pair<std::string, std::string>> metadata;  // __metadata__, in the file's order
};

/// Reads and checks the header of `file`; `file_index` goes to TensorInfo::file. The ranges of the
/// tensors cover all bytes after the header, once each. Throws FileError; FormatError naming file
/// and tensor; UnsupportedError for more dimensions than Shape holds.
SafetensorsHeader read_safetensors_header(const File& file, std::uint32_t file_index = 0);

/// The same for a whole file in memory; `path` is what messages call it.
SafetensorsHeader parse_safetensors(std::span<const std::byte> file,
                                    const std::filesystem::path& path);

/// The dtype that a safetensors header calls by this name; nothing for GGUF's types and torch's
/// complex128, which the format does not know.
std::optional<DType> safetensors_dtype(std::string_view name);

}  // namespace shoehorn
