// A checkpoint: names, dtypes, shapes and byte ranges of tensors, and their bytes when asked.
// Nothing outside this folder knows a file format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor_info.h"
#include "checkpoint/value_source.h"

namespace shoehorn {

/// Immutable once opened, and thread-safe.
class Checkpoint {
 public:
  /// What a format's reader hands over. Names are unique, ranges lie inside their files and do not
  /// overlap, but for tensors that share a storage in PyTorch's files: the readers check that.
  struct Parts {
    std::filesystem::path path;  // what the user named
    std::string format;          // "safetensors", "gguf", "pytorch", "offload"
    std::vector<File> files;
    std::unique_ptr<const ValueSource> source;  // in place of files
    std::vector<TensorInfo> tensors;            // in file order, then by offset
    std::string config_json;             // Hugging Face's config.json; GGUF: made of its metadata
    std::string generation_config_json;  // empty where there is none
    std::string tokenizer_json;          // likewise
    std::string tokenizer_config_json;   // likewise
    std::vector<std::string> notes;      // what a user should be told, e.g. which file was chosen
  };

  explicit Checkpoint(Parts parts);

  /// What it was made of, to make another; nothing else of it may be used then.
  Parts take_parts() && { return std::move(parts_); }

  const std::filesystem::path& path() const { return parts_.path; }
  const std::string& format() const { return parts_.format; }
  const std::vector<TensorInfo>& tensors() const { return parts_.tensors; }
  /// What it was read from; none where its bytes come from elsewhere.
  const std::vector<File>& files() const { return parts_.files; }
  const std::string& config_json() const { return parts_.config_json; }
  const std::string& generation_config_json() const { return parts_.generation_config_json; }
  const std::string& tokenizer_json() const { return parts_.tokenizer_json; }
  const std::string& tokenizer_config_json() const { return parts_.tokenizer_config_json; }
  const std::vector<std::string>& notes() const { return parts_.notes; }

  /// The tensor of that name, or nullptr.
  const TensorInfo* find(std::string_view name) const;
  /// Throws FormatError naming the tensor where it is missing.
  const TensorInfo& at(std::string_view name) const;

  /// Fills `out` (exactly info.bytes) with the bytes as stored, in row-major order. Throws
  /// FileError.
  void read(const TensorInfo& info, std::span<std::byte> out) const;
  /// Fills `out` with the bytes as stored from `offset` (of the tensor's first byte) on; the range
  /// lies inside the tensor. Throws FileError.
  void read_at(const TensorInfo& info, std::uint64_t offset, std::span<std::byte> out) const;

  /// File::drop_pages() of a tensor; nothing where it is not in a file.
  void drop_pages(const TensorInfo& info) const;

  /// What messages call the place that the tensor lies in: its file.
  const std::filesystem::path& path_of(const TensorInfo& info) const;
  /// All that the tensor's bytes depend on, beside its name, type and shape, as text without empty
  /// lines: place, size and time of change of its file, and where in it the tensor lies.
  std::string identity_of(const TensorInfo& info) const;

 private:
  Parts parts_;
  std::unordered_map<std::string_view, std::size_t> index_;  // views into parts_.tensors
};

struct OpenOptions {
  /// Another config.json than the checkpoint's own; empty: its own.
  std::filesystem::path config;
};

/// Opens a folder (config.json beside model.safetensors, pytorch_model.bin, or *.index.json with
/// its shards), a single file of these, or a .gguf file (the first of several parts finds the
/// others). Reads headers only. Throws FileError, FormatError or UnsupportedError with the file and
/// the tensor.
Checkpoint open_checkpoint(const std::filesystem::path& path, const OpenOptions& options = {});

}  // namespace shoehorn
