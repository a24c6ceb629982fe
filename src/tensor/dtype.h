// Element types: everything safetensors and torch know, and the block types of GGUF files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shoehorn {

enum class DType : std::uint8_t {
  // one value an element
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kF16,
  kBF16,
  kF32,
  kF64,
  kC64,
  kC128,
  // less than a byte an element, packed
  kF4,
  kF6E2M3,
  kF6E3M2,
  // GGUF blocks (ggml's types of the same names)
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kMXFP4,
};

inline constexpr int kDTypeCount = static_cast<int>(DType::kMXFP4) + 1;

/// How a type is stored: `block_elements` values take `block_bytes` bytes.
struct DTypeInfo {
  std::string_view name;        // as safetensors or GGUF spell it: "BF16", "Q4_K"
  std::string_view torch_name;  // as torch spells it: "bfloat16"; empty for GGUF blocks
  std::int64_t block_elements;
  std::size_t block_bytes;
};

const DTypeInfo& dtype_info(DType dtype);

/// "BF16", "Q4_K".
inline std::string_view to_string(DType dtype) {
  return dtype_info(dtype).name;
}

/// The type with this safetensors or GGUF name ("BF16"), or with this torch name ("bfloat16", with
/// or without "torch." in front).
std::optional<DType> dtype_from_name(std::string_view name);
std::optional<DType> dtype_from_torch_name(std::string_view name);

/// f16, bf16, f32, f64 and the 8-bit floats: what `--dtype` converts.
bool is_floating(DType dtype);
/// A GGUF block type.
bool is_block(DType dtype);

/// Bytes of `elements` packed values (elements >= 0); nothing if that overflows or the last block
/// would be incomplete.
std::optional<std::size_t> packed_bytes(DType dtype, std::int64_t elements);

}  // namespace shoehorn
