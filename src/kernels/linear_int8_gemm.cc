// The blocked product of linear_int8 for many rows: rows of x become panels of codes once, then
// each piece of work, a tile of results, copies a group of weight rows at a time into the nearest
// cache and multiplies all its panels with them; integer sums become float32 on their way to y.
// As in linear_gemm.cc, codes fill the vectors, so stored rows need no transposition.
#include "kernels/linear_int8_gemm.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/linear_pieces.h"
#include "kernels/outlier_columns.h"
#include "kernels/ranges.h"

namespace shoehorn {
namespace {

// Rows of x packed at a time: bounds the workspace.
constexpr std::int64_t kPackedRows = 512;
// Outlier columns of x that are gathered once a call; where there are more, each tile does.
constexpr std::int64_t kGatheredColumns = 256;
// The largest tile: its sums, 384 KiB, share a second-level cache with the panels of one depth
// block, 256 KiB. (256 rows are 8 % slower: weights are copied twice as often.)
constexpr std::int64_t kTileRows = 512;
constexpr std::int64_t kTileOutputs = 192;
// The smallest: outputs are a multiple of what the innermost kernels take (32, 12 or 4).
constexpr std::int64_t kLeastTileRows = 64;
constexpr std::int64_t kLeastTileOutputs = 96;
constexpr std::int64_t kMostGroup = 32;

std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return ceil_div(value, step) * step;
}

// What a thread needs while it multiplies a tile; rows of x are quantized in the same bytes.
struct alignas(64) TileScratch {
  std::int8_t copied[kMostGroup * kInt8CopyStride];
  std::int32_t c[kTileRows / kInt8PanelRows][kTileOutputs * kInt8PanelRows];
  float scb[kTileOutputs];
  float x_outliers[kInt8ColumnBlock * kInt8PanelRows];
  float w_outliers[kTileOutputs * kInt8ColumnBlock];
};

std::int64_t thread_bytes(std::int64_t k) {
  const std::int64_t row_bytes = kInt8PanelRows * padded_int8_depth(k);
  return std::max(row_bytes, static_cast<std::int64_t>(sizeof(TileScratch)));
}

// Some rows of x as codes, in panels of 16 rows.
struct PackedCodes {
  const Int8GemmPath* path;
  const float* x;  // [rows, k]
  std::int64_t rows;
  std::int64_t k;
  std::int8_t* data;   // [panels][padded depth / 4, 16, 4]
  float* stats;        // [panels, 16]
  std::int32_t* sums;  // [panels, 16], of the codes
  float* x_outliers;   // [panels][kGatheredColumns, 16], if no more columns than that
  std::span<const std::int32_t> columns;

  std::int64_t panels() const { return ceil_div(rows, kInt8PanelRows); }
  std::int64_t panel_rows(std::int64_t index) const {
    return std::min(kInt8PanelRows, rows - index * kInt8PanelRows);
  }
  std::int64_t panel_bytes() const { return kInt8PanelRows * padded_int8_depth(k); }
  std::int8_t* panel(std::int64_t index) const { return data + index * panel_bytes(); }
};

void pack_panel(const PackedCodes& packed, const Int8RowPath& path, float threshold,
                std::int64_t index, std::uint8_t* outliers, std::int8_t* codes) {
  const std::int64_t ldq = padded_int8_depth(packed.k);
  const std::int64_t rows = packed.panel_rows(index);
  const std::int64_t first = index * kInt8PanelRows;
  for (std::int64_t m = 0; m < kInt8PanelRows; ++m) {
    float& stat = packed.stats[first + m];
    std::int32_t& sum = packed.sums[first + m];
    if (m >= rows) {
      stat = 0;
      sum = 0;
      std::memset(codes + m * ldq, 0, static_cast<std::size_t>(ldq));
      continue;
    }
    const float* const x = packed.x + (first + m) * packed.k;
    stat = path.scan(x, packed.k, threshold, outliers);
    sum = path.quantize(x, packed.k, threshold, stat, codes + m * ldq);
  }
  path.pack(codes, ldq, ldq, packed.panel(index));
}

// out[c, m] = x[m, columns[first + c]] of a panel's rows.
void gather_outliers(const PackedCodes& packed, std::int64_t index, std::int64_t first,
                     std::int64_t count, float* out) {
  const std::int64_t rows = packed.panel_rows(index);
  const float* const x = packed.x + index * kInt8PanelRows * packed.k;
  for (std::int64_t c = 0; c < count; ++c) {
    const std::int64_t column = packed.columns[static_cast<std::size_t>(first + c)];
    float* const to = out + c * kInt8PanelRows;
    for (std::int64_t m = 0; m < kInt8PanelRows; ++m) {
      to[m] = m < rows ? x[m * packed.k + column] : 0.0F;
    }
  }
}

// Codes in outlier columns become zero in all rows.
void clear_columns(const PackedCodes& packed, std::int64_t index) {
  std::int32_t* const sums = packed.sums + index * kInt8PanelRows;
  for (const std::int32_t column : packed.columns) {
    std::int8_t* const codes = packed.panel(index) + column / 4 * (4 * kInt8PanelRows) + column % 4;
    for (std::int64_t m = 0; m < kInt8PanelRows; ++m) {
      sums[m] -= codes[4 * m];
      codes[4 * m] = 0;
    }
  }
}

bool few_columns(const PackedCodes& packed) {
  return static_cast<std::int64_t>(packed.columns.size()) <= kGatheredColumns;
}

struct Tile {
  const LinearTask* task;
  std::int64_t first_panel;
  std::int64_t panels;
  std::int64_t first_output;
  std::int64_t outputs;
};

// What follows the group of weights at row n and column k0 of a tile.
NextInt8 weights_after(const Tile& tile, std::int64_t group, std::int64_t block, std::int64_t n,
                       std::int64_t k0) {
  const Int8Parts parts = int8_parts(*tile.task->weight);
  n += group;
  if (n >= tile.outputs) {
    n = 0;
    k0 += block;
  }
  if (k0 >= parts.k) return {};
  return {.first = parts.cb + (tile.first_output + n) * parts.k + k0,
          .row_bytes = parts.k,
          .rows = std::min(group, tile.outputs - n),
          .bytes = std::min(block, parts.k - k0)};
}

// The sums of a tile.
void multiply_tile(const Tile& tile, const PackedCodes& packed, TileScratch& scratch) {
  const Int8GemmPath& path = *packed.path;
  const std::int64_t k = packed.k;
  const std::int8_t* const weights = int8_parts(*tile.task->weight).cb + tile.first_output * k;
  const bool is_reading = tile.panels <= path.reading_panels;
  const std::int64_t block = is_reading ? kInt8Depth : path.depth;
  for (std::int64_t k0 = 0; k0 < k; k0 += block) {
    const std::int64_t depth = std::min(block, k - k0);
    for (std::int64_t n = 0; n < tile.outputs; n += path.group) {
      const std::int64_t count = std::min(path.group, tile.outputs - n);
      path.copy({.w = weights + n * k + k0,
                 .row_bytes = k,
                 .count = count,
                 .depth = depth,
                 .ask_until = is_reading ? weights + tile.outputs * k : weights,
                 .out = scratch.copied});
      path.multiply(
          {.w = scratch.copied,
           .count = count,
           .panels = packed.panel(tile.first_panel) + k0 * kInt8PanelRows,
           .panel_bytes = packed.panel_bytes(),
           .panel_count = tile.panels,
           .depth = padded_int8_depth(depth),
           .sums = packed.sums + tile.first_panel * kInt8PanelRows,
           .first = k0 == 0,
           .c = scratch.c[0] + n * kInt8PanelRows,
           .c_panel = kTileOutputs * kInt8PanelRows,
           .next = is_reading ? NextInt8{} : weights_after(tile, path.group, block, n, k0)});
    }
  }
}

// The weights of outlier columns as floats: [outputs, kInt8ColumnBlock], zeros after the outputs.
void decode_outliers(const Tile& tile, const PackedCodes& packed, std::int64_t first,
                     std::int64_t count, TileScratch& scratch) {
  const std::int8_t* const weights =
      int8_parts(*tile.task->weight).cb + tile.first_output * packed.k;
  const std::int32_t* const columns = packed.columns.data() + first;
  for (std::int64_t n = 0; n < round_up(tile.outputs, 16); ++n) {
    float* const out = scratch.w_outliers + n * kInt8ColumnBlock;
    for (std::int64_t c = 0; c < count; ++c) {
      out[c] = n < tile.outputs ? static_cast<float>(weights[n * packed.k + columns[c]]) *
                                      scratch.scb[n] * kInt8Inverse127
                                : 0.0F;
    }
  }
}

void finish_tile(const Tile& tile, const PackedCodes& packed, std::int64_t row_offset,
                 TileScratch& scratch) {
  const Int8Output whole = int8_output(*tile.task);
  // A weight may have any alignment.
  std::memcpy(scratch.scb, reinterpret_cast<const std::byte*>(whole.scb) + 4 * tile.first_output,
              static_cast<std::size_t>(tile.outputs) * sizeof(float));
  const auto all = static_cast<std::int64_t>(packed.columns.size());
  for (std::int64_t first = 0; first == 0 || first < all; first += kInt8ColumnBlock) {
    const std::int64_t columns = std::min(kInt8ColumnBlock, all - first);
    decode_outliers(tile, packed, first, columns, scratch);
    for (std::int64_t i = 0; i < tile.panels; ++i) {
      const std::int64_t index = tile.first_panel + i;
      const float* x_outliers = scratch.x_outliers;
      if (few_columns(packed)) {
        x_outliers = packed.x_outliers + (index * kGatheredColumns + first) * kInt8PanelRows;
      } else {
        gather_outliers(packed, index, first, columns, scratch.x_outliers);
      }
      Int8Output out = whole;
      out.scb = scratch.scb;
      if (out.bias != nullptr) out.bias += tile.first_output;
      out.y += (row_offset + index * kInt8PanelRows) * out.ldy + tile.first_output;
      packed.path->finish({.c = scratch.c[i],
                           .outputs = tile.outputs,
                           .rows = packed.panel_rows(index),
                           .stats = packed.stats + index * kInt8PanelRows,
                           .columns = columns,
                           .x_outliers = x_outliers,
                           .w_outliers = scratch.w_outliers,
                           .first = first == 0,
                           .last = first + kInt8ColumnBlock >= all,
                           .out = out});
    }
  }
}

// How the results of several weights are cut into tiles.
class Tiling {
 public:
  // Tiles are smaller where large ones would leave threads without work at the end: narrower until
  // there are eight for each, then shorter until there are four.
  Tiling(std::span<const LinearTask> tasks, std::int64_t panels, int threads)
      : tasks_(tasks), panels_(panels) {
    cut();
    if (count() < std::int64_t{8} * threads) width_ = kLeastTileOutputs;
    cut();
    while (count() < std::int64_t{4} * threads && rows_ > kLeastTileRows) {
      rows_ /= 2;
      cut();
    }
  }

  std::int64_t count() const { return first_[tasks_.size()]; }

  Tile tile(std::int64_t number) const {
    std::size_t i = tasks_.size() - 1;
    while (first_[i] > number) --i;
    const std::int64_t index = number - first_[i];
    const std::int64_t first_panel = index % row_blocks() * tile_panels();
    const std::int64_t first_output = index / row_blocks() * width_;
    return {.task = &tasks_[i],
            .first_panel = first_panel,
            .panels = std::min(tile_panels(), panels_ - first_panel),
            .first_output = first_output,
            .outputs = std::min(width_, tasks_[i].weight->shape[0] - first_output)};
  }

 private:
  std::int64_t tile_panels() const { return rows_ / kInt8PanelRows; }
  std::int64_t row_blocks() const { return ceil_div(panels_, tile_panels()); }
  void cut() {
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      first_[i + 1] = first_[i] + ceil_div(tasks_[i].weight->shape[0], width_) * row_blocks();
    }
  }

  std::span<const LinearTask> tasks_;
  std::int64_t panels_;
  std::int64_t rows_ = kTileRows;
  std::int64_t width_ = kTileOutputs;
  std::array<std::int64_t, kMostLinearTasks + 1> first_{};  // number of each task's first tile
};

// Multiplies packed rows, which are rows row_offset and on of y, with all weights.
void multiply_packed(std::span<const LinearTask> tasks, const PackedCodes& packed,
                     std::int64_t row_offset, std::byte* scratch, ExecContext& ctx) {
  const Tiling tiling(tasks, packed.panels(), ctx.pool.threads());
  ctx.pool.parallel_for(tiling.count(), [&](std::int64_t number, int thread) {
    const Tile tile = tiling.tile(number);
    auto& mine = *reinterpret_cast<TileScratch*>(scratch + thread * thread_bytes(packed.k));
    multiply_tile(tile, packed, mine);
    finish_tile(tile, packed, row_offset, mine);
  });
}

}  // namespace

void linear_int8_gemm(std::span<const LinearTask> tasks, std::span<const float> x,
                      std::int64_t rows, float threshold, const Int8RowPath& row_path,
                      const Int8GemmPath& path, ExecContext& ctx) {
  const std::int64_t k = tasks.front().weight->shape[1];
  const std::int64_t most_rows = round_up(std::min(rows, kPackedRows), kInt8PanelRows);
  const auto size = [](std::int64_t count) { return static_cast<std::size_t>(count); };
  Workspace& workspace = ctx.workspace;
  const std::size_t mark = workspace.mark();
  OutlierColumns outliers(k, ctx.pool.threads(), workspace);
  PackedCodes packed{
      .path = &path,
      .x = x.data(),
      .rows = 0,
      .k = k,
      .data = workspace.take<std::int8_t>(size(most_rows * padded_int8_depth(k))).data(),
      .stats = workspace.take<float>(size(most_rows)).data(),
      .sums = workspace.take<std::int32_t>(size(most_rows)).data(),
      .x_outliers = workspace.take<float>(size(most_rows * kGatheredColumns)).data(),
      .columns = {}};
  std::byte* const scratch =
      workspace.take<std::byte>(size(thread_bytes(k) * ctx.pool.threads())).data();
  // Columns are those of all rows, so later rows are looked at before the first are multiplied.
  for_ranges(ctx.pool, rows - most_rows, 32768 / k + 1,
             [&](std::int64_t begin, std::int64_t end, int thread) {
               for (std::int64_t m = most_rows + begin; m < most_rows + end; ++m) {
                 row_path.scan(x.data() + m * k, k, threshold, outliers.of_thread(thread));
               }
             });
  for (std::int64_t first = 0; first < rows; first += kPackedRows) {
    packed.rows = std::min(kPackedRows, rows - first);
    packed.x = x.data() + first * k;
    ctx.pool.parallel_for(packed.panels(), [&](std::int64_t index, int thread) {
      auto* const codes = reinterpret_cast<std::int8_t*>(scratch + thread * thread_bytes(k));
      pack_panel(packed, row_path, threshold, index, outliers.of_thread(thread), codes);
    });
    outliers.collect();
    packed.columns = outliers.columns();
    if (!packed.columns.empty()) {
      ctx.pool.parallel_for(packed.panels(), [&](std::int64_t index, int /*thread*/) {
        clear_columns(packed, index);
        if (!few_columns(packed)) return;
        gather_outliers(packed, index, 0, static_cast<std::int64_t>(packed.columns.size()),
                        packed.x_outliers + index * kGatheredColumns * kInt8PanelRows);
      });
    }
    multiply_packed(tasks, packed, first, scratch, ctx);
  }
  workspace.release(mark);
}

std::size_t linear_int8_gemm_workspace_bytes(std::int64_t rows, std::int64_t k, int threads) {
  const std::int64_t most_rows = round_up(std::min(rows, kPackedRows), kInt8PanelRows);
  const std::int64_t row_bytes = padded_int8_depth(k) + 4 + 4 + 4 * kGatheredColumns;
  return OutlierColumns::workspace_bytes(k, threads) +
         static_cast<std::size_t>(most_rows * row_bytes + thread_bytes(k) * threads + 256);
}

}  // namespace shoehorn
