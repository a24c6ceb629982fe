#include "checkpoint/f8_tensor.h"

#include <algorithm>
#include <optional>
#include <string>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/config.h"
#include "checkpoint/printable.h"

namespace shoehorn {
namespace {

constexpr std::string_view kScaleSuffix = "_scale_inv";

struct Tile {
  std::int64_t rows;
  std::int64_t columns;
};

std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

/// quantization_config.weight_block_size; nothing where there is none.
std::optional<Tile> tile_of_config(const Checkpoint& checkpoint) {
  if (checkpoint.config_json().empty()) return std::nullopt;
  const Config config = Config::parse(checkpoint.config_json(), checkpoint.path() / "config.json");
  const auto block = config.find_child("quantization_config");
  if (!block || !block->has("weight_block_size")) return std::nullopt;
  const std::vector<std::int64_t> sizes = block->integers("weight_block_size");
  constexpr std::int64_t kMost = 1 << 20;
  if (sizes.size() != 2 || sizes[0] < 1 || sizes[1] < 1 || sizes[0] > kMost || sizes[1] > kMost) {
    throw block->error("weight_block_size", "is not two positive sizes: rows and columns");
  }
  return Tile{sizes[0], sizes[1]};
}

/// One scale stands for the whole weight where it is alone; else rows and columns are split evenly.
Tile tile_of_shapes(const Shape& weight, const Shape& scales) {
  const auto split = [](std::int64_t size, std::int64_t parts) {
    return std::max<std::int64_t>(parts < 1 ? 1 : ceil_div(size, parts), 1);
  };
  if (scales.rank() != 2) return {std::max<std::int64_t>(weight[0], 1), weight[1]};
  return {split(weight[0], scales[0]), split(weight[1], scales[1])};
}

QuantizedTensor make(const Checkpoint& checkpoint, const TensorInfo& weight,
                     const TensorInfo& scales, const std::optional<Tile>& of_config) {
  if (weight.shape.rank() != 2 || weight.shape[1] == 0) {
    throw FormatError(checkpoint.path_of(weight),
                      str_cat(printable(weight.name), " is ", to_string(weight.shape),
                              "; 8-bit floats with scales are matrices"));
  }
  if (!weight.strides.empty()) {
    throw FormatError(checkpoint.path_of(weight), str_cat(printable(weight.name),
                                                          " is a strided view of a storage; 8-bit "
                                                          "floats are read in one run"));
  }
  const Tile tile = of_config && scales.shape.rank() == 2
                        ? *of_config
                        : tile_of_shapes(weight.shape, scales.shape);
  QuantizedTensor tensor;
  tensor.path = weight.name;
  tensor.shape = weight.shape;
  tensor.form = {.quant_type = QuantType::kF8Tiles,
                 .dtype = DType::kBF16,  // what transformers dequantizes to
                 .blocksize = tile.columns,
                 .tile_rows = tile.rows};
  const F8Layout layout = f8_layout(tensor.form, weight.shape[0], weight.shape[1]);
  const Shape expected{layout.row_tiles, layout.column_tiles};
  const bool one_for_all = layout.row_tiles * layout.column_tiles == 1;
  if (scales.shape != expected && !(one_for_all && scales.shape.elements() == 1)) {
    throw FormatError(checkpoint.path_of(scales),
                      str_cat(printable(scales.name), " is ", to_string(scales.shape), "; ",
                              to_string(weight.shape), " in tiles of ", tile.rows, " x ",
                              tile.columns, " needs ", to_string(expected)));
  }
  if (scales.dtype != DType::kF32 && scales.dtype != DType::kBF16 && scales.dtype != DType::kF16) {
    throw UnsupportedError(str_cat(checkpoint.path_of(scales).string(), ": ",
                                   printable(scales.name), " is ", to_string(scales.dtype),
                                   "; shoehorn reads scales in F32, BF16 and F16"));
  }
  const auto tiles = static_cast<std::size_t>(layout.row_tiles * layout.column_tiles);
  tensor.parts = {{&weight, 0, weight.bytes, QuantizedPart::Kind::kBytes},
                  {&scales, layout.scales, tiles * sizeof(float), QuantizedPart::Kind::kFloats}};
  tensor.tensors = {&weight, &scales};
  return tensor;
}

}  // namespace

std::vector<QuantizedTensor> find_f8_tensors(const Checkpoint& checkpoint) {
  std::vector<QuantizedTensor> found;
  std::optional<Tile> tile;
  for (const TensorInfo& info : checkpoint.tensors()) {
    if (info.dtype != DType::kF8E4M3) continue;
    const TensorInfo* scales = checkpoint.find(str_cat(info.name, kScaleSuffix));
    if (scales == nullptr) continue;  // a plain tensor of that type
    if (found.empty()) tile = tile_of_config(checkpoint);
    found.push_back(make(checkpoint, info, *scales, tile));
  }
  return found;
}

}  // namespace shoehorn
