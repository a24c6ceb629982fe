#include "checkpoint/gguf_keys.h"

#include <algorithm>
#include <array>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn::gguf {

ArchitectureKeys::ArchitectureKeys(const Metadata& metadata)
    : metadata_(metadata), prefix_(str_cat(metadata.at_string("general.architecture"), ".")) {}

std::string ArchitectureKeys::key(std::string_view name) const {
  return str_cat(prefix_, name);
}

std::int64_t ArchitectureKeys::at_size(std::string_view name) const {
  return checked(name, metadata_.at_uint(key(name)));
}

std::optional<std::int64_t> ArchitectureKeys::find_size(std::string_view name) const {
  const auto value = metadata_.find_uint(key(name));
  if (!value) return std::nullopt;
  return checked(name, *value);
}

std::optional<std::int64_t> ArchitectureKeys::find_size_or_zero(std::string_view name) const {
  const auto value = metadata_.find_uint(key(name));
  if (!value || *value == 0) return std::nullopt;
  return checked(name, *value);
}

std::optional<std::int64_t> ArchitectureKeys::find_size_of_layers(std::string_view name) const {
  const std::string full = key(name);
  if (!metadata_.is_array(full)) return find_size(name);
  const auto per_layer = metadata_.find_ints(full);
  if (per_layer->empty()) {
    throw FormatError(metadata_.path(), str_cat(full, ": the array is empty"));
  }
  const std::int64_t first = per_layer->front();
  if (std::any_of(per_layer->begin(), per_layer->end(), [&](auto n) { return n != first; })) {
    throw UnsupportedError(str_cat(metadata_.path().string(), ": ", full,
                                   " differs between layers; supported is one count for all"));
  }
  if (first <= 0) {
    throw FormatError(metadata_.path(), str_cat(full, ": ", first, " is not positive"));
  }
  return checked(name, static_cast<std::uint64_t>(first));
}

std::int64_t ArchitectureKeys::checked(std::string_view name, std::uint64_t value) const {
  if (value == 0 || value > 0x7FFFFFFF) {
    throw FormatError(metadata_.path(),
                      str_cat(key(name), ": ", value, " is not between 1 and 2147483647"));
  }
  return static_cast<std::int64_t>(value);
}

const TensorInfo* find_tensor(std::span<const TensorInfo> tensors, std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorInfo& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

bool any_tensor_ends_with(std::span<const TensorInfo> tensors, std::string_view module,
                          std::string_view suffix) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const TensorInfo& tensor) {
    return tensor.name.find(module) != std::string::npos && tensor.name.ends_with(suffix);
  });
}

std::string torch_dtype_of(std::span<const TensorInfo> tensors) {
  constexpr std::array<DType, 4> kPlain = {DType::kF32, DType::kF16, DType::kBF16, DType::kF64};
  std::array<std::uint64_t, kPlain.size()> elements{};
  for (const TensorInfo& tensor : tensors) {
    if (tensor.shape.rank() < 2) continue;
    for (std::size_t i = 0; i < kPlain.size(); ++i) {
      if (tensor.dtype == kPlain[i]) {
        elements[i] += static_cast<std::uint64_t>(tensor.shape.elements());
      }
    }
  }
  const auto most = std::max_element(elements.begin(), elements.end()) - elements.begin();
  return std::string(dtype_info(kPlain[static_cast<std::size_t>(most)]).torch_name);
}

std::int64_t vocab_size_of(const Metadata& metadata, const ArchitectureKeys& keys,
                           std::span<const TensorInfo> tensors, std::string_view embedding) {
  const TensorInfo* found = find_tensor(tensors, embedding);
  if (found != nullptr && found->shape.rank() == 2) return found->shape[0];
  if (const auto size = keys.find_size("vocab_size")) return *size;
  const auto tokens = metadata.find_strings("tokenizer.ggml.tokens");
  if (tokens) return static_cast<std::int64_t>(tokens->size());
  throw FormatError(metadata.path(),
                    str_cat("neither token_embd.weight nor ", keys.key("vocab_size"),
                            " says how many tokens there are"));
}

}  // namespace shoehorn::gguf
