#include "kernels/kv_rows.h"

#include <cstring>
#include <limits>

#include "kernels/decode_row.h"
#include "kernels/kv_rows_paths.h"

namespace shoehorn {
namespace {

constexpr float kMostCode = 127;

const KvRowPath& path_of(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
    case Isa::kAvx512: return avx512::kKvRows;
    case Isa::kAvx2: return avx2::kKvRows;
    case Isa::kRef: break;
  }
  return ref::kKvRows;
}

}  // namespace

bool is_kv_dtype(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kI8;
}

std::size_t kv_row_bytes(DType dtype, std::int64_t width) {
  return packed_bytes(dtype, width).value() + (dtype == DType::kI8 ? sizeof(float) : 0);
}

void encode_kv_row(DType dtype, const float* values, std::int64_t width, std::byte* bytes,
                   Isa isa) {
  if (dtype != DType::kI8) return encode_row(dtype, values, width, bytes, isa);
  const KvRowPath& path = path_of(isa);
  bool finite = true;
  float scale = path.absmax(values, width, &finite) / kMostCode;
  float inverse = 0;
  if (!finite) {
    scale = std::numeric_limits<float>::quiet_NaN();
  } else if (scale >= std::numeric_limits<float>::min()) {
    inverse = 1 / scale;
  } else {
    scale = 0;
  }
  std::memcpy(bytes, &scale, sizeof(scale));
  std::byte* const codes = bytes + sizeof(scale);
  if (inverse == 0) {
    std::memset(codes, 0, static_cast<std::size_t>(width));
  } else {
    path.encode(values, width, inverse, codes);
  }
}

void decode_kv_rows(DType dtype, const std::byte* bytes, std::int64_t rows, std::int64_t width,
                    float* out, Isa isa) {
  if (dtype != DType::kI8) return decode_row(dtype, bytes, rows * width, out, isa);
  const KvRowPath& path = path_of(isa);
  const std::size_t row_bytes = kv_row_bytes(dtype, width);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::byte* const from = bytes + static_cast<std::size_t>(row) * row_bytes;
    float scale = 0;
    std::memcpy(&scale, from, sizeof(scale));
    path.decode(from + sizeof(scale), width, scale, out + row * width);
  }
}

}  // namespace shoehorn
