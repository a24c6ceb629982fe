// For tests only: GGUF files with any content one likes, sound or hostile.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf_metadata.h"

namespace shoehorn::testing {

template <typename T>
std::string le_bytes(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

inline std::string gguf_string(std::string_view text) {
  return le_bytes<std::uint64_t>(text.size()) + std::string(text);
}

/// Puts a GGUF file together, piece by piece; counts and offsets may lie.
class GgufBuilder {
 public:
  using Type = gguf::ValueType;

  GgufBuilder& version(std::uint32_t version) {
    version_ = version;
    return *this;
  }
  GgufBuilder& raw(std::string_view key, std::uint32_t type, const std::string& value) {
    metadata_ += gguf_string(key) + le_bytes(type) + value;
    ++key_count_;
    return *this;
  }
  GgufBuilder& value(std::string_view key, Type type, const std::string& bytes) {
    return raw(key, static_cast<std::uint32_t>(type), bytes);
  }
  GgufBuilder& uint32(std::string_view key, std::uint32_t v) {
    return value(key, Type::kUint32, le_bytes(v));
  }
  GgufBuilder& float32(std::string_view key, float v) {
    return value(key, Type::kFloat32, le_bytes(v));
  }
  GgufBuilder& boolean(std::string_view key, bool v) {
    return value(key, Type::kBool, std::string(1, v ? '\1' : '\0'));
  }
  GgufBuilder& string(std::string_view key, std::string_view text) {
    return value(key, Type::kString, gguf_string(text));
  }
  GgufBuilder& array(std::string_view key, Type element, std::uint64_t count,
                     const std::string& elements) {
    return value(key, Type::kArray,
                 le_bytes(static_cast<std::uint32_t>(element)) + le_bytes(count) + elements);
  }
  GgufBuilder& strings(std::string_view key, const std::vector<std::string>& texts) {
    std::string elements;
    for (const std::string& text : texts) elements += gguf_string(text);
    return array(key, Type::kString, texts.size(), elements);
  }
  GgufBuilder& int32s(std::string_view key, const std::vector<std::int32_t>& values) {
    std::string elements;
    for (const std::int32_t v : values) elements += le_bytes(v);
    return array(key, Type::kInt32, values.size(), elements);
  }
  GgufBuilder& float32s(std::string_view key, const std::vector<float>& values) {
    std::string elements;
    for (const float v : values) elements += le_bytes(v);
    return array(key, Type::kFloat32, values.size(), elements);
  }
  /// `dims` in GGUF's order, the row length first; `type` is ggml's number.
  GgufBuilder& tensor(std::string_view name, std::initializer_list<std::uint64_t> dims,
                      std::uint32_t type, std::uint64_t offset) {
    tensors_ += gguf_string(name) + le_bytes(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims) tensors_ += le_bytes(dim);
    tensors_ += le_bytes(type) + le_bytes(offset);
    ++tensor_count_;
    return *this;
  }
  GgufBuilder& claim_tensors(std::uint64_t count) {
    tensor_count_ = count;
    return *this;
  }
  GgufBuilder& claim_keys(std::uint64_t count) {
    key_count_ = count;
    return *this;
  }

  /// The file: header, padding to 32, `data_bytes` zeros.
  std::string build(std::size_t data_bytes = 0) const {
    std::string file = "GGUF" + le_bytes(version_) + le_bytes(tensor_count_) +
                       le_bytes(key_count_) + metadata_ + tensors_;
    file.resize((file.size() + 31) / 32 * 32);
    return file + std::string(data_bytes, '\0');
  }

 private:
  std::uint32_t version_ = 3;
  std::uint64_t key_count_ = 0;
  std::uint64_t tensor_count_ = 0;
  std::string metadata_;
  std::string tensors_;
};

/// The keys that a config.json cannot be made without: hidden size 32, 4 heads, 1 layer.
inline GgufBuilder llama_builder() {
  GgufBuilder builder;
  builder.string("general.architecture", "llama")
      .uint32("llama.block_count", 1)
      .uint32("llama.context_length", 128)
      .uint32("llama.embedding_length", 32)
      .uint32("llama.feed_forward_length", 48)
      .uint32("llama.attention.head_count", 4)
      .float32("llama.attention.layer_norm_rms_epsilon", 1e-5F)
      .uint32("llama.vocab_size", 7);
  return builder;
}

}  // namespace shoehorn::testing
