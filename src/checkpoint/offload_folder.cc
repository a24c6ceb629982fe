#include "checkpoint/offload_folder.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"
#include "checkpoint/safetensors_header.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kMaxIndexBytes = std::uint64_t{32} << 20;

class EntryParser {
 public:
  EntryParser(const fs::path& path, const std::string& name) : path_(path), name_(name) {}

  OffloadEntry parse(const Json& value) const {
    if (!value.is_object()) fail("must be an object with dtype and shape");
    if (name_.empty() || name_.find('/') != std::string::npos || name_.front() == '.' ||
        name_.find('\0') != std::string::npos) {
      fail("does not name a file in the folder");
    }
    OffloadEntry entry;
    entry.name = name_;
    const auto file = value.find("safetensors_file");
    if (file != value.end() && !file->is_null()) {
      entry.safetensors_file = text(*file, "safetensors_file");
      const auto weight = value.find("weight_name");
      const bool named = weight != value.end() && !weight->is_null();
      entry.weight_name = named ? text(*weight, "weight_name") : name_;
      return entry;
    }
    const auto dtype = value.find("dtype");
    const auto shape = value.find("shape");
    if (dtype == value.end() || shape == value.end()) fail("has no dtype or no shape");
    entry.dtype = parse_dtype(text(*dtype, "dtype"));
    entry.shape = parse_shape(*shape);
    const auto elements = entry.shape.checked_elements();
    if (!elements || !packed_bytes(entry.dtype, *elements)) {
      fail(str_cat(to_string(entry.shape), " has more bytes than can be counted"));
    }
    return entry;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(path_, str_cat(printable(name_), ": ", what));
  }
  std::string text(const Json& value, std::string_view key) const {
    if (!value.is_string()) fail(str_cat(key, " must be a string"));
    return value.get<std::string>();
  }
  DType parse_dtype(const std::string& name) const {
    const auto dtype = dtype_from_torch_name(name);  // numpy's names are torch's
    if (!dtype || dtype_info(*dtype).block_elements != 1) {
      fail(str_cat("has the unknown dtype ", printable(name)));
    }
    return *dtype;
  }
  Shape parse_shape(const Json& value) const {
    if (!value.is_array() || value.size() > Shape::kMaxRank) {
      fail(str_cat("shape must be a list of at most ", Shape::kMaxRank, " integers"));
    }
    std::vector<std::int64_t> dims;
    for (const Json& dim : value) {
      if (!dim.is_number_integer() || dim < 0 || dim > INT64_MAX) {
        fail("shape must hold integers that are not negative");
      }
      dims.push_back(dim.get<std::int64_t>());
    }
    return Shape(dims);
  }

  const fs::path& path_;
  const std::string& name_;
};

/// A file a tensor: more than the usual limit of open files where a model is large.
void make_room_for_files(std::size_t count) {
  constexpr rlim_t kOthers = 256;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, count + kOthers);
  if (wanted <= limit.rlim_cur) return;
  limit.rlim_cur = wanted;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // where that fails, opening says so
}

/// Tensors in safetensors files, each opened once.
class SafetensorsFiles {
 public:
  SafetensorsFiles(Checkpoint::Parts& parts, const fs::path& index)
      : parts_(parts), index_(index) {}

  TensorInfo find(const OffloadEntry& entry) {
    const fs::path path = entry.safetensors_file.is_absolute()
                              ? entry.safetensors_file
                              : index_.parent_path() / entry.safetensors_file;
    const auto [found, is_new] = files_.try_emplace(path);
    if (is_new) {
      const auto number = static_cast<std::uint32_t>(parts_.files.size());
      parts_.files.emplace_back(path);
      for (TensorInfo& info : read_safetensors_header(parts_.files.back(), number).tensors) {
        std::string name = info.name;
        found->second.emplace(std::move(name), std::move(info));
      }
    }
    const auto tensor = found->second.find(entry.weight_name);
    if (tensor == found->second.end()) {
      throw FormatError(index_, str_cat(printable(entry.name), ": ", path.string(),
                                        " has no tensor ", printable(entry.weight_name)));
    }
    TensorInfo info = tensor->second;
    info.name = entry.name;
    return info;
  }

 private:
  Checkpoint::Parts& parts_;
  const fs::path& index_;
  std::map<fs::path, std::unordered_map<std::string, TensorInfo>> files_;
};

TensorInfo open_dat(const OffloadEntry& entry, const fs::path& folder, Checkpoint::Parts& parts) {
  const std::size_t bytes = packed_bytes(entry.dtype, entry.shape.elements()).value();
  const auto number = static_cast<std::uint32_t>(parts.files.size());
  const File& file = parts.files.emplace_back(folder / (entry.name + ".dat"));
  if (file.size() != bytes) {
    throw FormatError(file.path(), str_cat("has ", file.size(), " bytes; index.json says ",
                                           to_string(entry.dtype), " ", to_string(entry.shape),
                                           ", which takes ", bytes));
  }
  return {.name = entry.name,
          .dtype = entry.dtype,
          .shape = entry.shape,
          .file = number,
          .offset = 0,
          .bytes = bytes,
          .row_order = {}};
}

}  // namespace

std::vector<OffloadEntry> parse_offload_index(const std::string& json,
                                              const std::filesystem::path& path) {
  const Json root = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) throw FormatError(path, "is not a JSON object");
  if (root.empty()) throw FormatError(path, "lists no tensors");
  std::vector<OffloadEntry> entries;
  entries.reserve(root.size());
  for (const auto& [name, value] : root.items()) {
    entries.push_back(EntryParser(path, name).parse(value));
  }
  return entries;
}

Checkpoint::Parts open_offload_folder(const std::filesystem::path& index) {
  const auto entries = parse_offload_index(read_text_file(index, kMaxIndexBytes), index);
  make_room_for_files(entries.size());
  Checkpoint::Parts parts;
  parts.format = "offload";
  SafetensorsFiles safetensors(parts, index);
  for (const OffloadEntry& entry : entries) {
    parts.tensors.push_back(entry.safetensors_file.empty()
                                ? open_dat(entry, index.parent_path(), parts)
                                : safetensors.find(entry));
  }
  std::ranges::stable_sort(parts.tensors, [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.file, a.offset) < std::pair(b.file, b.offset);
  });
  return parts;
}

}  // namespace shoehorn
