// What configs are made of: the metadata keys of a file's architecture, and its tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/gguf_metadata.h"
#include "checkpoint/tensor_info.h"

namespace shoehorn::gguf {

/// Keys of the architecture: "llama.embedding_length". Refers to the metadata, which outlives it.
class ArchitectureKeys {
 public:
  explicit ArchitectureKeys(const Metadata& metadata);

  std::string key(std::string_view name) const;
  /// Sizes of a model: nothing that a 32-bit integer would not hold, and never 0. Throws
  /// FormatError.
  std::int64_t at_size(std::string_view name) const;
  std::optional<std::int64_t> find_size(std::string_view name) const;
  /// A size where 0 stands for "there is none".
  std::optional<std::int64_t> find_size_or_zero(std::string_view name) const;
  /// A size that may be written once, or once a layer. Throws UnsupportedError where layers differ.
  std::optional<std::int64_t> find_size_of_layers(std::string_view name) const;
  double at_double(std::string_view name) const { return metadata_.at_double(key(name)); }
  std::optional<double> find_double(std::string_view name) const {
    return metadata_.find_double(key(name));
  }
  std::optional<std::string_view> find_string(std::string_view name) const {
    return metadata_.find_string(key(name));
  }

 private:
  std::int64_t checked(std::string_view name, std::uint64_t value) const;

  const Metadata& metadata_;
  std::string prefix_;
};

/// The tensor of that name, or nullptr.
const TensorInfo* find_tensor(std::span<const TensorInfo> tensors, std::string_view name);

/// A name has `module` in it and ends in `suffix`.
bool any_tensor_ends_with(std::span<const TensorInfo> tensors, std::string_view module,
                          std::string_view suffix);

/// The dtype of most elements in plain matrices, as torch calls it; float32 where there are none.
std::string torch_dtype_of(std::span<const TensorInfo> tensors);

/// Rows of `embedding`: what the model needs, whatever the vocabulary says. Without that tensor
/// what the metadata says; throws FormatError where it does not.
std::int64_t vocab_size_of(const Metadata& metadata, const ArchitectureKeys& keys,
                           std::span<const TensorInfo> tensors, std::string_view embedding);

}  // namespace shoehorn::gguf
