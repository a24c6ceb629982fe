#include "quant/weight_form.h"

#include <bit>
#include <cstring>
#include <utility>

#include "shoehorn/error.h"

#include "base/checked.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

constexpr std::size_t kQuantMapBytes = 16 * sizeof(float);
constexpr std::size_t kNestedMapBytes = 256 * sizeof(float);
// No tensor of a model is near it, and every sum below stays in 63 bits.
constexpr std::int64_t kMostElements = std::int64_t{1} << 56;

std::size_t aligned(std::size_t bytes) {
  return (bytes + kPartAlignment - 1) / kPartAlignment * kPartAlignment;
}

std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

}  // namespace

std::string_view to_string(QuantType type) {
  switch (type) {
    case QuantType::kInt8: return "int8";
    case QuantType::kNF4: return "nf4";
    case QuantType::kFP4: return "fp4";
    case QuantType::kF8Tiles: return "fp8";
    case QuantType::kNone: break;
  }
  return "none";
}

std::optional<QuantType> quant_type_from_name(std::string_view name) {
  for (const QuantType type : {QuantType::kNone, QuantType::kInt8, QuantType::kNF4, QuantType::kFP4,
                               QuantType::kF8Tiles}) {
    if (to_string(type) == name) return type;
  }
  return std::nullopt;
}

bool is_four_bit_blocksize(std::int64_t blocksize) {
  return blocksize >= 32 && blocksize <= 4096 &&
         std::has_single_bit(static_cast<std::uint64_t>(blocksize));
}

Int8Layout int8_layout(std::int64_t n, std::int64_t k) {
  if (n < 0 || k < 0 || (k > 0 && n > kMostElements / k)) {
    throw ArgumentError(str_cat("an int8 weight of ", n, " x ", k, " is too large"));
  }
  Int8Layout layout;
  layout.scb = aligned(static_cast<std::size_t>(n * k));
  layout.bytes = aligned(layout.scb + static_cast<std::size_t>(n) * sizeof(float));
  return layout;
}

FourBitLayout four_bit_layout(const WeightForm& form, std::int64_t elements) {
  if (elements < 0 || elements > kMostElements || !is_four_bit_blocksize(form.blocksize)) {
    throw ArgumentError(str_cat("a four-bit weight of ", elements, " values in blocks of ",
                                form.blocksize, " cannot be"));
  }
  FourBitLayout layout;
  layout.blocks = ceil_div(elements, form.blocksize);
  const auto blocks = static_cast<std::size_t>(layout.blocks);
  layout.absmax = aligned(static_cast<std::size_t>((elements + 1) / 2));
  if (form.nested) {
    layout.nested_blocks = ceil_div(layout.blocks, kNestedBlocksize);
    layout.nested_absmax = aligned(layout.absmax + blocks);
    layout.nested_quant_map = aligned(
        layout.nested_absmax + static_cast<std::size_t>(layout.nested_blocks) * sizeof(float));
    layout.nested_offset = layout.nested_quant_map + kNestedMapBytes;
    layout.quant_map = layout.nested_offset + kPartAlignment;
  } else {
    layout.quant_map = aligned(layout.absmax + blocks * sizeof(float));
  }
  layout.bytes = layout.quant_map + kQuantMapBytes;
  return layout;
}

F8Layout f8_layout(const WeightForm& form, std::int64_t n, std::int64_t k) {
  if (n < 0 || k < 0 || (k > 0 && n > kMostElements / k) || form.tile_rows < 1 ||
      form.blocksize < 1) {
    throw ArgumentError(str_cat("a weight of ", n, " x ", k, " 8-bit floats in tiles of ",
                                form.tile_rows, " x ", form.blocksize, " cannot be"));
  }
  F8Layout layout;
  layout.row_tiles = ceil_div(n, form.tile_rows);
  layout.column_tiles = ceil_div(k, form.blocksize);
  layout.scales = aligned(static_cast<std::size_t>(n * k));
  const auto tiles = static_cast<std::size_t>(layout.row_tiles * layout.column_tiles);
  layout.bytes = aligned(layout.scales + tiles * sizeof(float));
  return layout;
}

namespace {

std::optional<std::size_t> matrix_bytes(const WeightForm& form, std::int64_t n, std::int64_t k) {
  if (form.quant_type == QuantType::kInt8) return int8_layout(n, k).bytes;
  if (form.quant_type == QuantType::kF8Tiles) return f8_layout(form, n, k).bytes;
  return four_bit_layout(form, n * k).bytes;
}

}  // namespace

std::optional<std::size_t> form_bytes(const WeightForm& form, const Shape& shape) {
  const auto elements = shape.checked_elements();
  if (!elements || *elements > kMostElements) return std::nullopt;
  if (form.quant_type == QuantType::kNone) return packed_bytes(form.dtype, *elements);
  if (shape.rank() == 3) {
    const auto matrix = matrix_bytes(form, shape[1], shape[2]);
    return matrix ? checked_mul(static_cast<std::size_t>(shape[0]), *matrix) : std::nullopt;
  }
  if (shape.rank() == 2) return matrix_bytes(form, shape[0], shape[1]);
  if (!form.is_four_bit()) return std::nullopt;
  return four_bit_layout(form, *elements).bytes;
}

WeightView matrix_of(const WeightView& stack, std::int64_t i) {
  WeightView matrix = stack;
  matrix.shape = Shape{stack.shape[1], stack.shape[2]};
  if (stack.data != nullptr) {
    matrix.data += static_cast<std::size_t>(i) * form_bytes(stack.form, matrix.shape).value();
  }
  return matrix;
}

std::string_view to_string(ComputeDtype dtype) {
  switch (dtype) {
    case ComputeDtype::kBF16: return "bfloat16";
    case ComputeDtype::kF16: return "float16";
    case ComputeDtype::kInt8: return "int8";
    case ComputeDtype::kF32: break;
  }
  return "float32";
}

Int8Parts int8_parts(const WeightView& weight) {
  const Int8Layout layout = int8_layout(weight.shape[0], weight.shape[1]);
  return {.n = weight.shape[0],
          .k = weight.shape[1],
          .cb = reinterpret_cast<const std::int8_t*>(weight.data),
          .scb = reinterpret_cast<const float*>(weight.data + layout.scb)};
}

F8Parts f8_parts(const WeightView& weight) {
  const F8Layout layout = f8_layout(weight.form, weight.shape[0], weight.shape[1]);
  return {.k = weight.shape[1],
          .tile_rows = weight.form.tile_rows,
          .tile_columns = weight.form.blocksize,
          .column_tiles = layout.column_tiles,
          .codes = reinterpret_cast<const std::uint8_t*>(weight.data),
          .scales = reinterpret_cast<const float*>(weight.data + layout.scales)};
}

FourBitParts four_bit_parts(const WeightView& weight) {
  const FourBitLayout layout = four_bit_layout(weight.form, weight.shape.elements());
  const auto floats = [&](std::size_t offset) {
    return reinterpret_cast<const float*>(weight.data + offset);
  };
  FourBitParts parts{.elements = weight.shape.elements(), .blocksize = weight.form.blocksize};
  parts.packed = reinterpret_cast<const std::uint8_t*>(weight.data);
  parts.quant_map = floats(layout.quant_map);
  if (weight.form.nested) {
    parts.absmax_codes = reinterpret_cast<const std::uint8_t*>(weight.data + layout.absmax);
    parts.nested_absmax = floats(layout.nested_absmax);
    parts.nested_quant_map = floats(layout.nested_quant_map);
    parts.nested_offset = *floats(layout.nested_offset);
  } else {
    parts.absmax = floats(layout.absmax);
  }
  return parts;
}

}  // namespace shoehorn
