// decode_row and encode_row in plain loops; blocks come from quant/.
#include "quant/decode_row_ref.h"

#include <bit>
#include <cstring>

#include "base/byte_order.h"
#include "kernels/decode_row_paths.h"
#include "tensor/float8.h"
#include "tensor/half.h"

namespace shoehorn::ref {
namespace {

void decode_f32(const std::byte* bytes, std::int64_t elements, float* out) {
  if (elements > 0) std::memcpy(out, bytes, static_cast<std::size_t>(elements) * sizeof(float));
}

void decode_f16(const std::byte* bytes, std::int64_t elements, float* out) {
  for (std::int64_t i = 0; i < elements; ++i) {
    out[i] = f16_to_f32(read_le<std::uint16_t>(bytes + 2 * i));
  }
}

void decode_bf16(const std::byte* bytes, std::int64_t elements, float* out) {
  for (std::int64_t i = 0; i < elements; ++i) {
    out[i] = bf16_to_f32(read_le<std::uint16_t>(bytes + 2 * i));
  }
}

void decode_f64(const std::byte* bytes, std::int64_t elements, float* out) {
  for (std::int64_t i = 0; i < elements; ++i) {
    out[i] = static_cast<float>(read_le<double>(bytes + 8 * i));
  }
}

void decode_f8_e4m3(const std::byte* bytes, std::int64_t elements, float* out) {
  for (std::int64_t i = 0; i < elements; ++i) {
    out[i] = f8_e4m3_to_f32(std::to_integer<std::uint8_t>(bytes[i]));
  }
}

void decode_f8_e5m2(const std::byte* bytes, std::int64_t elements, float* out) {
  for (std::int64_t i = 0; i < elements; ++i) {
    out[i] = f8_e5m2_to_f32(std::to_integer<std::uint8_t>(bytes[i]));
  }
}

template <DType kType>
void decode_block_type(const std::byte* bytes, std::int64_t elements, float* out) {
  quant::decode_row_ref(kType, bytes, elements, out);
}

void encode_f32(const float* values, std::int64_t elements, std::byte* bytes) {
  if (elements > 0) std::memcpy(bytes, values, static_cast<std::size_t>(elements) * sizeof(float));
}

void encode_f16(const float* values, std::int64_t elements, std::byte* bytes) {
  for (std::int64_t i = 0; i < elements; ++i) {
    const std::uint16_t bits = f32_to_f16(values[i]);
    std::memcpy(bytes + 2 * i, &bits, sizeof(bits));
  }
}

void encode_bf16(const float* values, std::int64_t elements, std::byte* bytes) {
  for (std::int64_t i = 0; i < elements; ++i) {
    const std::uint16_t bits = f32_to_bf16(values[i]);
    std::memcpy(bytes + 2 * i, &bits, sizeof(bits));
  }
}

}  // namespace

DecodePath decode_path(DType dtype) {
  switch (dtype) {
    case DType::kF32: return decode_f32;
    case DType::kF16: return decode_f16;
    case DType::kBF16: return decode_bf16;
    case DType::kF64: return decode_f64;
    case DType::kF8E4M3: return decode_f8_e4m3;
    case DType::kF8E5M2: return decode_f8_e5m2;
    case DType::kQ4_0: return decode_block_type<DType::kQ4_0>;
    case DType::kQ4_1: return decode_block_type<DType::kQ4_1>;
    case DType::kQ5_0: return decode_block_type<DType::kQ5_0>;
    case DType::kQ5_1: return decode_block_type<DType::kQ5_1>;
    case DType::kQ8_0: return decode_block_type<DType::kQ8_0>;
    case DType::kQ2_K: return decode_block_type<DType::kQ2_K>;
    case DType::kQ3_K: return decode_block_type<DType::kQ3_K>;
    case DType::kQ4_K: return decode_block_type<DType::kQ4_K>;
    case DType::kQ5_K: return decode_block_type<DType::kQ5_K>;
    case DType::kQ6_K: return decode_block_type<DType::kQ6_K>;
    case DType::kIQ4_NL: return decode_block_type<DType::kIQ4_NL>;
    case DType::kIQ4_XS: return decode_block_type<DType::kIQ4_XS>;
    case DType::kMXFP4: return decode_block_type<DType::kMXFP4>;
    default: return nullptr;
  }
}

EncodePath encode_path(DType dtype) {
  switch (dtype) {
    case DType::kF32: return encode_f32;
    case DType::kF16: return encode_f16;
    case DType::kBF16: return encode_bf16;
    default: return nullptr;
  }
}

}  // namespace shoehorn::ref
