#include "kernels/decode_row.h"

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/decode_row_paths.h"

namespace shoehorn {

DecodePath decode_path_for(DType dtype, Isa isa) {
  DecodePath path = nullptr;
  if (isa >= Isa::kAvx512) path = avx512::decode_path(dtype);
  if (path == nullptr && isa >= Isa::kAvx2) path = avx2::decode_path(dtype);
  if (path == nullptr) path = ref::decode_path(dtype);
  return path;
}

namespace {

EncodePath encode_path_for(DType dtype, Isa isa) {
  EncodePath path = nullptr;
  if (isa >= Isa::kAvx512) path = avx512::encode_path(dtype);
  if (path == nullptr && isa >= Isa::kAvx2) path = avx2::encode_path(dtype);
  if (path == nullptr) path = ref::encode_path(dtype);
  return path;
}

}  // namespace

void decode_row(DType dtype, const std::byte* bytes, std::int64_t elements, float* out, Isa isa) {
  const DecodePath path = decode_path_for(dtype, isa);
  if (path == nullptr) {
    throw UnsupportedError(str_cat("cannot read ", to_string(dtype),
                                   " as float32; floating and GGUF block types can be read"));
  }
  const std::int64_t block = dtype_info(dtype).block_elements;
  if (elements < 0 || elements % block != 0) {
    throw ArgumentError(
        str_cat(elements, " values of ", to_string(dtype), " are not whole blocks of ", block));
  }
  path(bytes, elements, out);
}

void encode_row(DType dtype, const float* values, std::int64_t elements, std::byte* bytes,
                Isa isa) {
  const EncodePath path = encode_path_for(dtype, isa);
  if (path == nullptr) {
    throw UnsupportedError(str_cat("cannot write float32 as ", to_string(dtype),
                                   "; F32, F16 and BF16 can be written"));
  }
  path(values, elements, bytes);
}

}  // namespace shoehorn
