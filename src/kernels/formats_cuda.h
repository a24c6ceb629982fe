// How a thread of a CUDA device reads one value of a stored weight, by form: what decoding kernels
// and dot products of rarer forms are made from. Included by .cu files only, which are compiled
// with -fmad=false (products are rounded before they are added, as everywhere else) and
// --expt-relaxed-constexpr (the meaning of bytes is in quant/ and tensor/).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "quant/block_value.h"
#include "quant/weight_form.h"
#include "tensor/dtype.h"
#include "tensor/float8.h"
#include "tensor/half.h"

namespace shoehorn::cuda {

/// A little-endian number at any address.
template <typename T>
__device__ T read_bytes(const std::byte* at) {
  T value = 0;
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(T)); ++i) {
    value |= static_cast<T>(static_cast<T>(at[i]) << (8 * i));
  }
  return value;
}

/// A plain dtype; rows `row_bytes` apart, at any address.
template <DType kType>
struct PlainFormat {
  const std::byte* table = nullptr;
  std::int64_t row_bytes = 0;

  __device__ float value(std::int64_t row, std::int64_t i) const {
    const std::byte* const at = table + row * row_bytes;
    if constexpr (kType == DType::kF32) {
      return std::bit_cast<float>(read_bytes<std::uint32_t>(at + 4 * i));
    } else if constexpr (kType == DType::kF16) {
      return f16_to_f32(read_bytes<std::uint16_t>(at + 2 * i));
    } else if constexpr (kType == DType::kBF16) {
      return bf16_to_f32(read_bytes<std::uint16_t>(at + 2 * i));
    } else if constexpr (kType == DType::kF64) {
      return static_cast<float>(std::bit_cast<double>(read_bytes<std::uint64_t>(at + 8 * i)));
    } else if constexpr (kType == DType::kF8E4M3) {
      return f8_e4m3_to_f32(static_cast<std::uint8_t>(at[i]));
    } else {
      static_assert(kType == DType::kF8E5M2);
      return f8_e5m2_to_f32(static_cast<std::uint8_t>(at[i]));
    }
  }
};

/// GGUF blocks.
template <typename Block, int kElements>
struct BlockFormat {
  const std::byte* table = nullptr;
  std::int64_t row_bytes = 0;

  __device__ float value(std::int64_t row, std::int64_t i) const {
    const auto* const blocks = reinterpret_cast<const Block*>(table + row * row_bytes);
    return quant::block_value(blocks[i / kElements], static_cast<int>(i % kElements));
  }
};

/// Addresses of the parts of a four-bit weight on a card, whose values the host cannot read
/// (four_bit_parts() would).
struct FourBitAddresses {
  const std::uint8_t* packed = nullptr;
  const float* absmax = nullptr;               // null: nested
  const std::uint8_t* absmax_codes = nullptr;  // nested
  const float* nested_absmax = nullptr;
  const float* nested_quant_map = nullptr;
  const float* nested_offset = nullptr;
  const float* quant_map = nullptr;
};

inline FourBitAddresses four_bit_addresses(const WeightView& weight) {
  const FourBitLayout layout = four_bit_layout(weight.form, weight.shape.elements());
  const auto floats = [&](std::size_t offset) {
    return reinterpret_cast<const float*>(weight.data + offset);
  };
  FourBitAddresses at{.packed = reinterpret_cast<const std::uint8_t*>(weight.data),
                      .quant_map = floats(layout.quant_map)};
  if (weight.form.nested) {
    at.absmax_codes = reinterpret_cast<const std::uint8_t*>(weight.data + layout.absmax);
    at.nested_absmax = floats(layout.nested_absmax);
    at.nested_quant_map = floats(layout.nested_quant_map);
    at.nested_offset = floats(layout.nested_offset);
  } else {
    at.absmax = floats(layout.absmax);
  }
  return at;
}

/// NF4 and FP4, at any address; blocks run over the ends of rows.
struct FourBitFormat {
  FourBitAddresses at;
  std::int64_t k = 0;
  int block_shift = 6;  // log2 of the blocksize

  static FourBitFormat of(const WeightView& weight) {
    return {four_bit_addresses(weight), weight.shape[1],
            std::countr_zero(static_cast<std::uint64_t>(weight.form.blocksize))};
  }

  static __device__ float read_float(const float* from, std::int64_t i) {
    return std::bit_cast<float>(
        read_bytes<std::uint32_t>(reinterpret_cast<const std::byte*>(from) + 4 * i));
  }

  __device__ float absmax_of(std::int64_t block) const {
    if (at.absmax != nullptr) return read_float(at.absmax, block);
    const float scaled = __fmul_rn(read_float(at.nested_quant_map, at.absmax_codes[block]),
                                   read_float(at.nested_absmax, block / kNestedBlocksize));
    return __fadd_rn(scaled, read_float(at.nested_offset, 0));
  }

  __device__ float value(std::int64_t row, std::int64_t i) const {
    const std::int64_t flat = row * k + i;
    const int pair = at.packed[flat / 2];
    const int code = flat % 2 == 0 ? pair >> 4 : pair & 15;
    return __fmul_rn(read_float(at.quant_map, code), absmax_of(flat >> block_shift));
  }
};

/// 8-bit floats with a scale a tile, at any address.
struct F8TilesFormat {
  const std::byte* codes = nullptr;
  const float* scales = nullptr;  // [row tiles, column_tiles]
  std::int64_t k = 0;
  std::int64_t tile_rows = 1;
  std::int64_t tile_columns = 1;
  std::int64_t column_tiles = 0;

  static F8TilesFormat of(const WeightView& weight) {
    const F8Parts parts = f8_parts(weight);
    return {reinterpret_cast<const std::byte*>(parts.codes),
            parts.scales,
            parts.k,
            parts.tile_rows,
            parts.tile_columns,
            parts.column_tiles};
  }

  __device__ float value(std::int64_t row, std::int64_t i) const {
    const float code = f8_e4m3_to_f32(static_cast<std::uint8_t>(codes[row * k + i]));
    return __fmul_rn(
        code, FourBitFormat::read_float(scales, row / tile_rows * column_tiles + i / tile_columns));
  }
};

/// Calls body(format) with the format of a plain dtype. Throws UnsupportedError for what is no
/// number.
template <typename Body>
void with_plain_format(DType dtype, const std::byte* table, std::int64_t row_bytes,
                       const Body& body) {
  using quant::kSmallBlock;
  using quant::kSuperBlock;
  switch (dtype) {
    case DType::kF32: return body(PlainFormat<DType::kF32>{table, row_bytes});
    case DType::kF16: return body(PlainFormat<DType::kF16>{table, row_bytes});
    case DType::kBF16: return body(PlainFormat<DType::kBF16>{table, row_bytes});
    case DType::kF64: return body(PlainFormat<DType::kF64>{table, row_bytes});
    case DType::kF8E4M3: return body(PlainFormat<DType::kF8E4M3>{table, row_bytes});
    case DType::kF8E5M2: return body(PlainFormat<DType::kF8E5M2>{table, row_bytes});
    case DType::kQ4_0: return body(BlockFormat<quant::BlockQ4_0, kSmallBlock>{table, row_bytes});
    case DType::kQ4_1: return body(BlockFormat<quant::BlockQ4_1, kSmallBlock>{table, row_bytes});
    case DType::kQ5_0: return body(BlockFormat<quant::BlockQ5_0, kSmallBlock>{table, row_bytes});
    case DType::kQ5_1: return body(BlockFormat<quant::BlockQ5_1, kSmallBlock>{table, row_bytes});
    case DType::kQ8_0: return body(BlockFormat<quant::BlockQ8_0, kSmallBlock>{table, row_bytes});
    case DType::kQ2_K: return body(BlockFormat<quant::BlockQ2_K, kSuperBlock>{table, row_bytes});
    case DType::kQ3_K: return body(BlockFormat<quant::BlockQ3_K, kSuperBlock>{table, row_bytes});
    case DType::kQ4_K: return body(BlockFormat<quant::BlockQ4_K, kSuperBlock>{table, row_bytes});
    case DType::kQ5_K: return body(BlockFormat<quant::BlockQ5_K, kSuperBlock>{table, row_bytes});
    case DType::kQ6_K: return body(BlockFormat<quant::BlockQ6_K, kSuperBlock>{table, row_bytes});
    case DType::kIQ4_NL:
      return body(BlockFormat<quant::BlockIQ4_NL, kSmallBlock>{table, row_bytes});
    case DType::kIQ4_XS:
      return body(BlockFormat<quant::BlockIQ4_XS, kSuperBlock>{table, row_bytes});
    case DType::kMXFP4: return body(BlockFormat<quant::BlockMXFP4, kSmallBlock>{table, row_bytes});
    default:
      throw UnsupportedError(
          str_cat("weights of dtype ", to_string(dtype), " are no numbers to multiply"));
  }
}

}  // namespace shoehorn::cuda
