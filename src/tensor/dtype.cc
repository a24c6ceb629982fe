#include "tensor/dtype.h"

#include <array>

#include "base/checked.h"

namespace shoehorn {
namespace {

constexpr std::array<DTypeInfo, kDTypeCount> kInfo = {{
    {"BOOL", "bool", 1, 1},
    {"U8", "uint8", 1, 1},
    {"I8", "int8", 1, 1},
    {"U16", "uint16", 1, 2},
    {"I16", "int16", 1, 2},
    {"U32", "uint32", 1, 4},
    {"I32", "int32", 1, 4},
    {"U64", "uint64", 1, 8},
    {"I64", "int64", 1, 8},
    {"F8_E4M3", "float8_e4m3fn", 1, 1},
    {"F8_E5M2", "float8_e5m2", 1, 1},
    {"F8_E8M0", "float8_e8m0fnu", 1, 1},
    {"F16", "float16", 1, 2},
    {"BF16", "bfloat16", 1, 2},
    {"F32", "float32", 1, 4},
    {"F64", "float64", 1, 8},
    {"C64", "complex64", 1, 8},
    {"C128", "complex128", 1, 16},
    {"F4", "float4_e2m1fn_x2", 2, 1},
    {"F6_E2M3", "", 4, 3},
    {"F6_E3M2", "", 4, 3},
    {"Q4_0", "", 32, 18},
    {"Q4_1", "", 32, 20},
    {"Q5_0", "", 32, 22},
    {"Q5_1", "", 32, 24},
    {"Q8_0", "", 32, 34},
    {"Q2_K", "", 256, 84},
    {"Q3_K", "", 256, 110},
    {"Q4_K", "", 256, 144},
    {"Q5_K", "", 256, 176},
    {"Q6_K", "", 256, 210},
    {"IQ4_NL", "", 32, 18},
    {"IQ4_XS", "", 256, 136},
    {"MXFP4", "", 32, 17},
}};

}  // namespace

const DTypeInfo& dtype_info(DType dtype) {
  return kInfo[static_cast<std::size_t>(dtype)];
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kInfo.size(); ++i) {
    if (kInfo[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::optional<DType> dtype_from_torch_name(std::string_view name) {
  if (name.starts_with("torch.")) name.remove_prefix(6);
  for (std::size_t i = 0; i < kInfo.size(); ++i) {
    if (!name.empty() && kInfo[i].torch_name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

bool is_floating(DType dtype) {
  switch (dtype) {
    case DType::kF8E4M3:
    case DType::kF8E5M2:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF32:
    case DType::kF64: return true;
    default: return false;
  }
}

bool is_block(DType dtype) {
  return dtype >= DType::kQ4_0;
}

std::optional<std::size_t> packed_bytes(DType dtype, std::int64_t elements) {
  const DTypeInfo& info = dtype_info(dtype);
  if (elements < 0 || elements % info.block_elements != 0) return std::nullopt;
  return checked_mul(static_cast<std::size_t>(elements / info.block_elements), info.block_bytes);
}

}  // namespace shoehorn
