// Many rows of int8 activations times four-bit weights: quantizes and packs x once, cuts the
// product into tiles for the threads, unpacks a group of weight rows at a time into the nearest
// cache and multiplies all panels of x with them.
#include <algorithm>
#include <array>

#include "kernels/linear_four_bit_int8_paths.h"
#include "kernels/linear_pieces.h"

namespace shoehorn {
namespace {

// Rows of x packed at a time: bounds the workspace, and the results of a tile, which share a
// second-level cache with the runs of all panels that a group is multiplied with: 256 and 288 KiB.
constexpr std::int64_t kPackedRows = 512;
constexpr std::int64_t kTileOutputs = 128;
constexpr std::int64_t kLeastTileOutputs = 32;

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

constexpr std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return ceil_div(value, step) * step;
}

// One thread's scratch.
struct Scratch {
  Int8TileRun weights[kInt8Group / kInt8TileRows * kInt8GroupRuns];
  alignas(64) float absmax[kInt8GroupRuns * kInt8Group];
  alignas(64) float nested[kInt8GroupRuns];
  float* c = nullptr;  // [panels][outputs][16]
};

struct PackedRows {
  Int8PanelRun* data;  // [panels][runs]
  std::int64_t first;  // row of x and y
  std::int64_t rows;
  std::int64_t runs;

  std::int64_t panels() const { return ceil_div(rows, kInt8TileRows); }
};

struct Tile {
  const LinearTask* task;
  std::int64_t first_output;
  std::int64_t outputs;
};

// out[r][n] = absmax of run first_run + r of weight rows first_row + n.
void gather_absmax(const FourBitParts& parts, std::int64_t k, std::int64_t first_row,
                   std::int64_t count, std::int64_t first_run, std::int64_t runs,
                   const FourBitInt8GemmPath& path, Scratch& scratch) {
  for (std::int64_t n = 0; n < count; ++n) {
    const std::int64_t value = (first_row + n) * k + first_run * kInt8Run;
    const std::int64_t first = value / parts.blocksize;
    const std::int64_t last = (value + (runs - 1) * kInt8Run) / parts.blocksize;
    const float* absmax = parts.absmax + first;
    if (parts.absmax == nullptr) {
      path.unnest(parts, first, last - first + 1, scratch.nested);
      absmax = scratch.nested;
    }
    for (std::int64_t r = 0; r < runs; ++r) {
      scratch.absmax[r * kInt8Group + n] = absmax[(value + r * kInt8Run) / parts.blocksize - first];
    }
  }
  for (std::int64_t r = 0; r < runs; ++r) {
    // Whole tiles are multiplied.
    std::fill(scratch.absmax + r * kInt8Group + count, scratch.absmax + (r + 1) * kInt8Group, 0.0F);
  }
}

void run_tile(const Tile& tile, const PackedRows& packed, const FourBitInt8GemmPath& path,
              Scratch& scratch) {
  const WeightView& weight = *tile.task->weight;
  const FourBitParts parts = four_bit_parts(weight);
  const FourBitInt8Codes codes = four_bit_int8_codes(weight.form.quant_type, parts.quant_map);
  const std::int64_t k = weight.shape[1];
  FourBitInt8Multiply job{.weights = scratch.weights,
                          .absmax = scratch.absmax,
                          .panel_runs = packed.runs,
                          .panel_count = packed.panels(),
                          .c_outputs = round_up(tile.outputs, kInt8TileRows)};
  for (std::int64_t run = 0; run < packed.runs; run += kInt8GroupRuns) {
    job.runs = std::min(kInt8GroupRuns, packed.runs - run);
    job.panels = packed.data + run;
    job.first = run == 0;
    for (std::int64_t n = 0; n < tile.outputs; n += kInt8Group) {
      job.outputs = std::min(kInt8Group, tile.outputs - n);
      job.c = scratch.c + n * kInt8TileRows;
      const std::int64_t row = tile.first_output + n;
      path.unpack(parts.packed + row * (k / 2) + run * (kInt8Run / 2), k / 2, job.outputs, job.runs,
                  codes, scratch.weights);
      gather_absmax(parts, k, row, job.outputs, run, job.runs, path, scratch);
      path.multiply(job);
    }
  }
  const std::int64_t ldy = weight.shape[0];
  const float* const bias =
      tile.task->bias.empty() ? nullptr : tile.task->bias.data() + tile.first_output;
  for (std::int64_t i = 0; i < packed.panels(); ++i) {
    const std::int64_t first = i * kInt8TileRows;
    path.store(scratch.c + i * job.c_outputs * kInt8TileRows, tile.outputs,
               std::min(kInt8TileRows, packed.rows - first), codes.unit, bias,
               tile.task->accumulate,
               tile.task->y.data() + (packed.first + first) * ldy + tile.first_output, ldy);
  }
}

void multiply_packed(std::span<const LinearTask> tasks, const PackedRows& packed,
                     const FourBitInt8GemmPath& path, std::span<Scratch> scratch,
                     ExecContext& ctx) {
  std::int64_t all_outputs = 0;
  for (const LinearTask& task : tasks) all_outputs += task.weight->shape[0];
  // Eight tiles a thread if that leaves tiles worth unpacking for.
  const std::int64_t share = all_outputs / (std::int64_t{8} * ctx.pool.threads());
  const std::int64_t width =
      std::clamp(round_up(share, kInt8TileRows), kLeastTileOutputs, kTileOutputs);
  std::array<std::int64_t, kMostLinearTasks + 1> first_piece{};
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    first_piece[i + 1] = first_piece[i] + ceil_div(tasks[i].weight->shape[0], width);
  }
  ctx.pool.parallel_for(first_piece[tasks.size()], [&](std::int64_t piece, int thread) {
    std::size_t i = tasks.size() - 1;
    while (first_piece[i] > piece) --i;
    const std::int64_t first_output = (piece - first_piece[i]) * width;
    const Tile tile{.task = &tasks[i],
                    .first_output = first_output,
                    .outputs = std::min(width, tasks[i].weight->shape[0] - first_output)};
    run_tile(tile, packed, path, scratch[static_cast<std::size_t>(thread)]);
  });
}

// Results of a tile: floats of a thread.
constexpr std::int64_t result_floats(std::int64_t panels) {
  return panels * kTileOutputs * kInt8TileRows;
}

}  // namespace

void linear_four_bit_int8_gemm(std::span<const LinearTask> tasks, std::span<const float> x,
                               std::int64_t rows, const FourBitInt8GemmPath& path,
                               ExecContext& ctx) {
  const std::int64_t k = tasks.front().weight->shape[1];
  const std::int64_t most_panels = ceil_div(std::min(rows, kPackedRows), kInt8TileRows);
  const std::size_t mark = ctx.workspace.mark();
  const auto panels =
      ctx.workspace.take<Int8PanelRun>(static_cast<std::size_t>(most_panels * (k / kInt8Run)));
  const auto scratch = ctx.workspace.take<Scratch>(static_cast<std::size_t>(ctx.pool.threads()));
  for (Scratch& of_thread : scratch) {
    of_thread.c =
        ctx.workspace.take<float>(static_cast<std::size_t>(result_floats(most_panels))).data();
  }
  for (std::int64_t first = 0; first < rows; first += kPackedRows) {
    const PackedRows packed{.data = panels.data(),
                            .first = first,
                            .rows = std::min(kPackedRows, rows - first),
                            .runs = k / kInt8Run};
    ctx.pool.parallel_for(packed.panels(), [&](std::int64_t panel, int /*thread*/) {
      const std::int64_t row = panel * kInt8TileRows;
      path.pack(x.data() + (first + row) * k, k, std::min(kInt8TileRows, packed.rows - row),
                packed.runs, packed.data + panel * packed.runs);
    });
    multiply_packed(tasks, packed, path, scratch, ctx);
  }
  ctx.workspace.release(mark);
}

std::size_t linear_four_bit_int8_gemm_workspace_bytes(std::int64_t rows, std::int64_t k,
                                                      int threads) {
  const std::int64_t most_panels = ceil_div(std::min(rows, kPackedRows), kInt8TileRows);
  const auto panels = static_cast<std::size_t>(most_panels * ceil_div(k, kInt8Run));
  const std::size_t results = static_cast<std::size_t>(result_floats(most_panels)) * sizeof(float);
  return panels * sizeof(Int8PanelRun) +
         static_cast<std::size_t>(threads) * (sizeof(Scratch) + results);
}

}  // namespace shoehorn
