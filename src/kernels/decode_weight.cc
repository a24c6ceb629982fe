#include "kernels/decode_weight.h"

#include <algorithm>

#include "kernels/decode_four_bit_paths.h"
#include "kernels/decode_row.h"
#include "quant/four_bit.h"
#include "quant/int8_rows.h"

namespace shoehorn {
namespace {

void decode_int8(const Int8Parts& parts, std::int64_t row, std::int64_t first, std::int64_t count,
                 float* out) {
  const std::int8_t* const codes = parts.cb + row * parts.k + first;
  const float scb = parts.scb[row];
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(codes[i]) * scb * kOneOver127;
  }
}

// fl(code * scale), as transformers dequantizes in float32.
void decode_f8(const F8Parts& parts, std::int64_t row, std::int64_t first, std::int64_t count,
               float* out, Isa isa) {
  const auto* const codes = reinterpret_cast<const std::byte*>(parts.codes + row * parts.k + first);
  decode_row(DType::kF8E4M3, codes, count, out, isa);
  const float* const scales = parts.scales_of(row);
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t tile = (first + done) / parts.tile_columns;
    const std::int64_t end = std::min(count, (tile + 1) * parts.tile_columns - first);
    const float scale = scales[tile];
    for (std::int64_t i = done; i < end; ++i) out[i] *= scale;
    done = end;
  }
}

}  // namespace

DecodeFourBitPath decode_four_bit_path(Isa isa) {
  if (isa >= Isa::kAvx512) return avx512::decode_four_bit;
  return isa >= Isa::kAvx2 ? avx2::decode_four_bit : dequantize_four_bit;
}

void decode_columns(const WeightView& weight, std::int64_t row, std::int64_t first,
                    std::int64_t count, float* out, Isa isa) {
  if (weight.form.quant_type == QuantType::kInt8) {
    decode_int8(int8_parts(weight), row, first, count, out);
  } else if (weight.form.quant_type == QuantType::kF8Tiles) {
    decode_f8(f8_parts(weight), row, first, count, out, isa);
  } else if (weight.form.is_four_bit()) {
    decode_four_bit_path(isa)(four_bit_parts(weight), row * weight.shape[1] + first, count, out);
  } else {
    const DType dtype = weight.form.dtype;
    const std::size_t at = packed_bytes(dtype, row * weight.shape[1] + first).value();
    decode_row(dtype, weight.data + at, count, out, isa);
  }
}

}  // namespace shoehorn
