// Tensors recorded from bitsandbytes by their names (tests/data/quant-golden.md). The environment
// variable SHOEHORN_QUANT_GOLDEN names another file of the same kind.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors_header.h"
#include "tensor/dtype.h"
#include "tensor/half.h"
#include "tensor/shape.h"

namespace shoehorn::quant_golden {

/// One recorded tensor; the bytes are the file's.
struct Recorded {
  DType dtype = DType::kF32;
  Shape shape;
  std::span<const std::byte> bytes;

  template <typename T>
  std::vector<T> as() const {
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }

  /// F32, F16 and BF16 as float32.
  std::vector<float> floats() const {
    if (dtype == DType::kF32) return as<float>();
    if (dtype != DType::kF16 && dtype != DType::kBF16) throw std::runtime_error("not a float");
    std::vector<float> values;
    for (const std::uint16_t bits : as<std::uint16_t>()) {
      values.push_back(dtype == DType::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits));
    }
    return values;
  }
};

class Golden {
 public:
  static const Golden& instance() {
    static const Golden golden;
    return golden;
  }

  bool has(const std::string& name) const { return tensors_.contains(name); }
  /// Throws std::out_of_range naming what is missing.
  const Recorded& at(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw std::out_of_range("the file has no " + name);
    return found->second;
  }
  std::set<std::string> names(std::string_view prefix) const {
    std::set<std::string> names;
    for (const auto& [name, tensor] : tensors_) {
      if (name.starts_with(prefix)) names.insert(name);
    }
    return names;
  }

 private:
  Golden() {
    const char* other = std::getenv("SHOEHORN_QUANT_GOLDEN");
    const std::filesystem::path path =
        other != nullptr ? other : SHOEHORN_TEST_DATA "/quant-golden.safetensors";
    std::ifstream file(path, std::ios::binary);
    file_.assign(std::istreambuf_iterator<char>(file), {});
    const std::span<const std::byte> bytes = std::as_bytes(std::span(file_));
    for (const TensorInfo& info : parse_safetensors(bytes, path).tensors) {
      tensors_[info.name] = {info.dtype, info.shape, bytes.subspan(info.offset, info.bytes)};
    }
  }

  std::vector<char> file_;
  std::map<std::string, Recorded> tensors_;
};

inline std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<std::uint32_t>(value));
  return bits;
}

/// Rounded to F32, F16 or BF16, and back.
inline std::vector<float> rounded_to(DType dtype, std::vector<float> values) {
  for (float& value : values) {
    if (dtype == DType::kF16) value = f16_to_f32(f32_to_f16(value));
    if (dtype == DType::kBF16) value = bf16_to_f32(f32_to_bf16(value));
  }
  return values;
}

/// Equal as numbers, NaN to NaN; the sign of zero is left open, as bitsandbytes leaves it.
inline bool same_numbers(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  }
  return true;
}

}  // namespace shoehorn::quant_golden
