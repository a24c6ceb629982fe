// How a weight is held in memory: plain elements, GGUF blocks, 8-bit floats with a scale a tile
// (DeepSeek-V3), or quantized as bitsandbytes does it (LLM.int8(), arXiv:2208.07339; NF4 and FP4,
// arXiv:2305.14314), each as one run of bytes with its scales, so that whatever moves, stores or
// streams a weight moves all of it.
//
// A weight of three dimensions is a stack of matrices (the experts of a layer): each of them is
// laid out by itself, one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace shoehorn {

enum class QuantType : std::uint8_t { kNone, kInt8, kNF4, kFP4, kF8Tiles };

/// "none", "int8", "nf4", "fp4", "fp8"; nf4 and fp4 are bitsandbytes' quant_type.
std::string_view to_string(QuantType type);
std::optional<QuantType> quant_type_from_name(std::string_view name);

/// bitsandbytes' blocksizes for four bits: 32, 64, 128, ... 4096.
bool is_four_bit_blocksize(std::int64_t blocksize);

struct WeightForm {
  QuantType quant_type = QuantType::kNone;
  /// kNone: of the elements. Else the dtype of the tensor that was quantized (quant_state.dtype).
  DType dtype = DType::kF32;
  /// Four bits: values that share an absmax, over the flat tensor. 8-bit floats: columns of a tile.
  std::int64_t blocksize = 64;
  std::int64_t tile_rows = 1;  // 8-bit floats: rows that share a scale
  bool nested = false;         // four bits: absmax itself is in 8 bits (double quantization)

  bool is_four_bit() const {
    return quant_type == QuantType::kNF4 || quant_type == QuantType::kFP4;
  }
  bool is_quantized() const { return quant_type != QuantType::kNone; }
  friend bool operator==(const WeightForm&, const WeightForm&) = default;
};

/// Values of absmax that share a nested_absmax.
inline constexpr std::int64_t kNestedBlocksize = 256;

/// Where the parts of an int8 weight [N, K] lie: CB int8 [N, K] first, then SCB float32 [N], the
/// absolute maximum of each row (not divided by 127).
struct Int8Layout {
  std::size_t scb = 0;
  std::size_t bytes = 0;  // of all parts
};

/// Where the parts of a four-bit weight of n values lie: packed [(n + 1) / 2] first, two values a
/// byte, the earlier one in the high four bits; B = ceil(n / blocksize).
struct FourBitLayout {
  std::size_t absmax = 0;            // float32 [B]; nested: uint8 [B]
  std::size_t nested_absmax = 0;     // nested: float32 [ceil(B / 256)]
  std::size_t nested_quant_map = 0;  // nested: float32 [256]
  std::size_t nested_offset = 0;     // nested: float32
  std::size_t quant_map = 0;         // float32 [16]: what each four bits mean before absmax
  std::size_t bytes = 0;             // of all parts
  std::int64_t blocks = 0;           // B
  std::int64_t nested_blocks = 0;    // ceil(B / 256), 0 where not nested
};

/// Where the parts of a weight [N, K] of 8-bit floats lie: float8_e4m3fn [N, K] first, then float32
/// [ceil(N / tile_rows), ceil(K / blocksize)], what each tile is multiplied by.
struct F8Layout {
  std::size_t scales = 0;
  std::size_t bytes = 0;  // of all parts
  std::int64_t row_tiles = 0;
  std::int64_t column_tiles = 0;
};

/// Every part begins at a multiple of this.
inline constexpr std::size_t kPartAlignment = 64;

/// Throws ArgumentError for sizes that overflow.
Int8Layout int8_layout(std::int64_t n, std::int64_t k);
FourBitLayout four_bit_layout(const WeightForm& form, std::int64_t elements);
F8Layout f8_layout(const WeightForm& form, std::int64_t n, std::int64_t k);

/// Bytes of a whole weight of that form, scales included; nothing if that overflows, if the last
/// block of a GGUF type would be incomplete, or if a form of matrices is asked of another rank than
/// 2 or 3.
std::optional<std::size_t> form_bytes(const WeightForm& form, const Shape& shape);

/// What a product of a quantized weight is computed with.
enum class ComputeDtype : std::uint8_t {
  kF32,
  kBF16,
  kF16,
  kInt8,  // four bits only: activations quantized on the fly, the code book in int8
};
/// "float32", "bfloat16", "float16", "int8".
std::string_view to_string(ComputeDtype dtype);

struct WeightCompute {
  // Of four bits; and on a CUDA device, in products of many rows, of what else is decoded there.
  ComputeDtype dtype = ComputeDtype::kF32;
  float llm_int8_threshold = 6.0F;  // int8: activations at or above it stay floats; 0: none
  bool bnb_cpu_constant = false;    // int8: bitsandbytes' CPU constant in place of 1 / 127^2
};

/// A weight that someone else owns; null data where it is not in memory.
struct WeightView {
  WeightForm form;
  Shape shape;
  const std::byte* data = nullptr;
  Device device;
  WeightCompute compute = {};

  WeightView() = default;
  WeightView(WeightForm form, const Shape& shape, const std::byte* data, Device device)
      : form(form), shape(shape), data(data), device(device) {}
  /// A plain tensor is a weight as it is.
  // NOLINTNEXTLINE(google-explicit-constructor): that is what it is for
  WeightView(const TensorView& plain)
      : form{.dtype = plain.dtype}, shape(plain.shape), data(plain.data), device(plain.device) {}

  /// The values as T, of a plain weight whose storage type it is.
  template <typename T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(data), static_cast<std::size_t>(shape.elements())};
  }
};

/// Matrix i of a stack [matrices, N, K]; null data stays null.
WeightView matrix_of(const WeightView& stack, std::int64_t i);

/// The parts of an int8 weight in memory.
struct Int8Parts {
  std::int64_t n = 0;
  std::int64_t k = 0;
  const std::int8_t* cb = nullptr;
  const float* scb = nullptr;
};
Int8Parts int8_parts(const WeightView& weight);

/// The parts of a four-bit weight in memory. Nested: `absmax` is null and
/// absmax[b] = fl(fl(nested_quant_map[absmax_codes[b]] · nested_absmax[b / 256]) + nested_offset).
struct FourBitParts {
  std::int64_t elements = 0;
  std::int64_t blocksize = 64;
  const std::uint8_t* packed = nullptr;
  const float* absmax = nullptr;
  const std::uint8_t* absmax_codes = nullptr;
  const float* nested_absmax = nullptr;
  const float* nested_quant_map = nullptr;
  float nested_offset = 0;
  const float* quant_map = nullptr;

  float absmax_of(std::int64_t block) const {
    if (absmax != nullptr) return absmax[block];
    const float scaled =
        nested_quant_map[absmax_codes[block]] * nested_absmax[block / kNestedBlocksize];
    return scaled + nested_offset;
  }
};
FourBitParts four_bit_parts(const WeightView& weight);

/// The parts of a weight of 8-bit floats in memory.
struct F8Parts {
  std::int64_t k = 0;
  std::int64_t tile_rows = 1;
  std::int64_t tile_columns = 1;
  std::int64_t column_tiles = 0;
  const std::uint8_t* codes = nullptr;
  const float* scales = nullptr;

  /// The scales of a row, one for every `tile_columns` of its values.
  const float* scales_of(std::int64_t row) const { return scales + row / tile_rows * column_tiles; }
};
F8Parts f8_parts(const WeightView& weight);

}  // namespace shoehorn
