// The blocked matrix product of linear(): rows of x are packed side by side into panels once, then
// each piece of work, a tile of results, widens a group of weight rows at a time into the nearest
// cache and multiplies all its panels with them. Weights are broadcast, rows of x fill the vectors:
// that way stored rows need no transposition, only widening, which for few rows costs as much as
// the arithmetic (GotoBLAS, Goto and van de Geijn 2008, with the roles of A and B exchanged).
#include <algorithm>
#include <array>
#include <functional>
#include <iterator>
#include <vector>

#include "kernels/decode_four_bit_paths.h"
#include "kernels/decode_row.h"
#include "kernels/decode_row_paths.h"
#include "kernels/decode_weight.h"
#include "kernels/linear_paths.h"
#include "kernels/linear_pieces.h"

namespace shoehorn {
namespace {

// Rows of x packed at a time: bounds the workspace.
constexpr std::int64_t kPackedRows = 512;
// A tile's results, kTileRows x kTileOutputs floats, share a second-level cache with the panels of
// one depth block, kTileRows x kGemmDepth floats: 192 and 256 KiB.
constexpr std::int64_t kTileRows = 256;
constexpr std::int64_t kTileOutputs = 192;
// Tiles are multiples of what the innermost kernels take (12 or 6).
constexpr std::int64_t kOutputGroup = 12;
constexpr std::int64_t kWidestPanel = 32;

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

const GemmPath& gemm_path(Isa isa) {
  return isa >= Isa::kAvx512 ? avx512::kGemm : avx2::kGemm;
}

constexpr std::int64_t kWidenedFloats = kOutputGroup * kWidenedStride;
constexpr std::int64_t kThreadFloats = kWidenedFloats + kTileRows * kTileOutputs;

// Rows of x, packed: depth block after depth block, in each all panels.
struct PackedRows {
  const GemmPath* path;
  float* data;
  std::int64_t rows;
  std::int64_t k;

  std::int64_t panels() const { return ceil_div(rows, path->width); }
  std::int64_t depth_at(std::int64_t k0) const { return std::min(kGemmDepth, k - k0); }
  float* panel(std::int64_t k0, std::int64_t index) const {
    return data + (k0 * panels() + index * depth_at(k0)) * path->width;
  }
};

// Packed rows and the weights that they meet.
struct PackedGroup {
  PackedRows packed;
  const LinearGroup* group;
  std::int64_t first_row;  // of the group, which packed row 0 is

  std::int64_t row_blocks() const { return ceil_div(packed.rows, kTileRows); }
};

struct Tile {
  const LinearTask* task;
  std::int64_t first_row;  // a multiple of the panel width
  std::int64_t rows;
  std::int64_t first_output;
  std::int64_t outputs;
};

// The stored weights of a tile, a group of rows and a block of the depth at a time.
class StoredGroups {
 public:
  StoredGroups(const Tile& tile, const GemmPath& path, Isa isa)
      : tile_(tile), group_(path.group), weight_(*tile.task->weight), isa_(isa) {
    if (weight_.form.is_four_bit()) {
      four_bit_ = four_bit_parts(weight_);
      decode_four_bit_ = decode_four_bit_path(isa);
      // Only where rows begin at a byte is it known which lines to ask for ahead.
      if (weight_.shape[1] % 2 == 0) row_bytes_ = bytes_of(weight_.shape[1]);
      return;
    }
    if (weight_.form.is_quantized()) return;
    decode_ = decode_path_for(weight_.form.dtype, isa);
    row_bytes_ = bytes_of(weight_.shape[1]);
  }

  // Rows n .. n + count - 1 of the tile, columns k0 .. k0 + depth - 1, as float32.
  void widen(std::int64_t n, std::int64_t k0, std::int64_t depth, float* out) const {
    const std::int64_t count = std::min(group_, tile_.outputs - n);
    if (decode_four_bit_ != nullptr) {
      const std::int64_t k = weight_.shape[1];
      for (std::int64_t r = 0; r < count; ++r) {
        decode_four_bit_(four_bit_, (tile_.first_output + n + r) * k + k0, depth,
                         out + r * kWidenedStride);
      }
      return;
    }
    if (decode_ == nullptr) {
      for (std::int64_t r = 0; r < count; ++r) {
        decode_columns(weight_, tile_.first_output + n + r, k0, depth, out + r * kWidenedStride,
                       isa_);
      }
      return;
    }
    const std::byte* row = at(n, k0);
    for (std::int64_t r = 0; r < count; ++r, row += row_bytes_) {
      decode_(row, depth, out + r * kWidenedStride);
    }
  }

  // What is widened after that.
  NextWeights after(std::int64_t n, std::int64_t k0) const {
    if (row_bytes_ == 0) return {.first = weight_.data};
    n += group_;
    if (n >= tile_.outputs) {
      n = 0;
      k0 += kGemmDepth;
    }
    if (k0 >= weight_.shape[1]) return {.first = weight_.data};
    return {.first = at(n, k0),
            .row_bytes = row_bytes_,
            .bytes = bytes_of(std::min(kGemmDepth, weight_.shape[1] - k0))};
  }

 private:
  // kGemmDepth is a multiple of every block's elements, so a depth block is whole blocks.
  std::int64_t bytes_of(std::int64_t columns) const {
    if (decode_four_bit_ != nullptr) return columns / 2;
    return static_cast<std::int64_t>(packed_bytes(weight_.form.dtype, columns).value());
  }
  const std::byte* at(std::int64_t n, std::int64_t k0) const {
    return weight_.data + (tile_.first_output + n) * row_bytes_ + bytes_of(k0);
  }

  const Tile& tile_;
  std::int64_t group_;
  const WeightView& weight_;
  Isa isa_;
  DecodePath decode_ = nullptr;  // null: quantized
  DecodeFourBitPath decode_four_bit_ = nullptr;
  FourBitParts four_bit_;
  std::int64_t row_bytes_ = 0;  // 0: not known
};

void run_tile(const Tile& tile, const PackedRows& packed, std::int64_t row_offset, float* scratch,
              Isa isa) {
  const GemmPath& path = *packed.path;
  float* const widened = scratch;
  float* const results = scratch + kWidenedFloats;  // [panels, outputs, width]
  const std::int64_t panels = ceil_div(tile.rows, path.width);
  const std::int64_t first_panel = tile.first_row / path.width;
  const std::int64_t panel_results = tile.outputs * path.width;
  const StoredGroups weights(tile, path, isa);
  for (std::int64_t k0 = 0; k0 < packed.k; k0 += kGemmDepth) {
    const std::int64_t depth = packed.depth_at(k0);
    for (std::int64_t n = 0; n < tile.outputs; n += path.group) {
      weights.widen(n, k0, depth, widened);
      const std::int64_t count = std::min(path.group, tile.outputs - n);
      NextWeights next = weights.after(n, k0);
      for (std::int64_t i = 0; i < panels; ++i) {
        const std::int64_t rows = std::min(path.width, tile.rows - i * path.width);
        path.multiply(widened, count, packed.panel(k0, first_panel + i), depth, rows,
                      results + i * panel_results + n * path.width, k0 == 0, next);
        next = {.first = next.first};
      }
    }
  }
  const std::int64_t ldy = tile.task->weight->shape[0];
  const float* const bias =
      tile.task->bias.empty() ? nullptr : tile.task->bias.data() + tile.first_output;
  for (std::int64_t i = 0; i < panels; ++i) {
    const std::int64_t rows = std::min(path.width, tile.rows - i * path.width);
    const std::int64_t row = row_offset + tile.first_row + i * path.width;
    path.store(results + i * panel_results, tile.outputs, rows, bias, tile.task->accumulate,
               tile.task->y.data() + row * ldy + tile.first_output, ldy);
  }
}

// The last whose first piece is not after `piece`.
template <typename T>
const T& owner(const std::vector<T>& of, std::int64_t piece) {
  return *std::prev(std::ranges::upper_bound(of, piece, {}, &T::first_piece));
}

// As many rows as are packed at a time: of one group, or of several small ones.
class Load {
 public:
  Load(const GemmPath& path, std::span<float> memory) : path_(path), memory_(memory) {}

  // At most kPackedRows rows of the group from `first_row` on. False: no room, multiply() first.
  bool add(const LinearGroup& group, std::int64_t first_row, std::int64_t rows) {
    const std::int64_t k = group.tasks.front().weight->shape[1];
    const auto floats = static_cast<std::size_t>(round_up(rows, path_.width) * k);
    if (floats > memory_.size() - taken_) return false;
    groups_.push_back({{.path = &path_, .data = memory_.data() + taken_, .rows = rows, .k = k},
                       &group,
                       first_row});
    taken_ += floats;
    return true;
  }

  bool is_empty() const { return groups_.empty(); }

  // All rows with their weights; empty afterwards.
  void multiply(ComputeDtype activations, float* scratch, ExecContext& ctx) {
    // Tall tiles first, so that all threads end together.
    std::ranges::stable_sort(groups_, std::greater{},
                             [](const PackedGroup& g) { return g.packed.rows; });
    pack(activations, ctx);
    run_tiles(scratch, ctx);
    groups_.clear();
    taken_ = 0;
  }

 private:
  struct Panels {
    const PackedGroup* group;
    std::int64_t first_piece;
  };
  struct Tiles {
    const PackedGroup* group;
    const LinearTask* task;
    std::int64_t first_piece;
  };

  void pack(ComputeDtype activations, ExecContext& ctx) const {
    const std::int64_t width = path_.width;
    std::vector<Panels> all;
    std::int64_t pieces = 0;
    for (const PackedGroup& group : groups_) {
      all.push_back({&group, pieces});
      pieces += group.packed.panels();
    }
    ctx.pool.parallel_for(pieces, [&](std::int64_t piece, int /*thread*/) {
      const Panels& panels = owner(all, piece);
      const PackedRows& packed = panels.group->packed;
      const std::int64_t index = piece - panels.first_piece;
      const std::int64_t rows = std::min(width, packed.rows - index * width);
      const float* const x =
          panels.group->group->x.data() + (panels.group->first_row + index * width) * packed.k;
      for (std::int64_t k0 = 0; k0 < packed.k; k0 += kGemmDepth) {
        float* const panel = packed.panel(k0, index);
        const std::int64_t depth = packed.depth_at(k0);
        path_.pack(x + k0, packed.k, rows, depth, panel);
        round_activations(activations, {panel, static_cast<std::size_t>(depth * width)}, ctx.isa);
      }
    });
  }

  void run_tiles(float* scratch, ExecContext& ctx) const {
    std::int64_t all_outputs = 0;
    for (const PackedGroup& group : groups_) {
      for (const LinearTask& task : group.group->tasks) {
        all_outputs += task.weight->shape[0] * group.row_blocks();
      }
    }
    // Eight tiles a thread if that leaves tiles worth widening for.
    const std::int64_t share = all_outputs / (std::int64_t{8} * ctx.pool.threads());
    const std::int64_t width =
        std::clamp(round_up(share, kOutputGroup), 4 * kOutputGroup, kTileOutputs);
    std::vector<Tiles> all;
    std::int64_t pieces = 0;
    for (const PackedGroup& group : groups_) {
      for (const LinearTask& task : group.group->tasks) {
        if (task.weight->shape[0] == 0) continue;
        all.push_back({&group, &task, pieces});
        pieces += ceil_div(task.weight->shape[0], width) * group.row_blocks();
      }
    }
    ctx.pool.parallel_for(pieces, [&](std::int64_t piece, int thread) {
      const Tiles& tiles = owner(all, piece);
      const PackedGroup& group = *tiles.group;
      const std::int64_t index = piece - tiles.first_piece;
      const std::int64_t first_row = index % group.row_blocks() * kTileRows;
      const std::int64_t first_output = index / group.row_blocks() * width;
      const Tile tile{.task = tiles.task,
                      .first_row = first_row,
                      .rows = std::min(kTileRows, group.packed.rows - first_row),
                      .first_output = first_output,
                      .outputs = std::min(width, tiles.task->weight->shape[0] - first_output)};
      run_tile(tile, group.packed, group.first_row, scratch + thread * kThreadFloats, ctx.isa);
    });
  }

  const GemmPath& path_;
  std::span<float> memory_;
  std::size_t taken_ = 0;
  std::vector<PackedGroup> groups_;
};

}  // namespace

void round_activations(ComputeDtype dtype, std::span<float> values, Isa isa) {
  if (dtype != ComputeDtype::kBF16 && dtype != ComputeDtype::kF16) return;
  const DType stored = dtype == ComputeDtype::kBF16 ? DType::kBF16 : DType::kF16;
  std::array<std::byte, 2 * 256> bytes;
  while (!values.empty()) {
    const std::size_t count = std::min<std::size_t>(values.size(), bytes.size() / 2);
    const auto elements = static_cast<std::int64_t>(count);
    encode_row(stored, values.data(), elements, bytes.data(), isa);
    decode_row(stored, bytes.data(), elements, values.data(), isa);
    values = values.subspan(count);
  }
}

void linear_gemm(std::span<const LinearGroup> groups, ComputeDtype activations, ExecContext& ctx) {
  const GemmPath& path = gemm_path(ctx.isa);
  std::int64_t rows = 0;
  std::int64_t k = 0;
  for (const LinearGroup& group : groups) {
    rows += group.rows;
    k = std::max(k, group.tasks.front().weight->shape[1]);
  }
  const std::size_t mark = ctx.workspace.mark();
  const std::int64_t most_rows = round_up(std::min(rows, kPackedRows), path.width);
  Load load(path, ctx.workspace.take<float>(static_cast<std::size_t>(most_rows * k)));
  float* const scratch =
      ctx.workspace.take<float>(static_cast<std::size_t>(kThreadFloats * ctx.pool.threads()))
          .data();
  for (const LinearGroup& group : groups) {
    for (std::int64_t first = 0; first < group.rows; first += kPackedRows) {
      const std::int64_t count = std::min(kPackedRows, group.rows - first);
      if (load.add(group, first, count)) continue;
      load.multiply(activations, scratch, ctx);
      load.add(group, first, count);
    }
  }
  if (!load.is_empty()) load.multiply(activations, scratch, ctx);
  ctx.workspace.release(mark);
}

std::size_t linear_gemm_workspace_bytes(std::int64_t rows, std::int64_t k, int threads) {
  const std::int64_t packed = round_up(std::min(rows, kPackedRows), kWidestPanel) * k;
  const std::int64_t floats = round_up(packed, 16) + kThreadFloats * threads;
  return static_cast<std::size_t>(floats) * sizeof(float);
}

}  // namespace shoehorn
