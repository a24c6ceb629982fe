// Many rows of int8 activations times four-bit weights: quantizes and packs x once, cuts the
// product into tiles for the threads, unpacks a group of weight rows at a time into the nearest
// cache and multiplies all panels of x with them.
#include <algorithm>
#include <array>
#include <bit>

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

// Weight rows n .. n + outputs - 1 of a tile, runs run .. run + runs - 1: what is unpacked at a
// time.
struct Step {
  std::int64_t n;
  std::int64_t outputs;
  std::int64_t run;
  std::int64_t runs;
};

// The steps of a tile. All of some rows first, as they lie in memory, if x then stays in the
// second-level cache; else all rows of some runs. Each output adds its runs in order either way.
class Steps {
 public:
  Steps(const Tile& tile, const PackedRows& packed)
      : outputs_(tile.outputs),
        runs_(packed.runs),
        groups_(ceil_div(tile.outputs, kInt8Group)),
        chunks_(ceil_div(packed.runs, kInt8GroupRuns)),
        by_rows_(packed.panels() * packed.runs * std::int64_t{sizeof(Int8PanelRun)} <=
                 kMostCachedBytes) {}

  std::int64_t count() const { return groups_ * chunks_; }
  Step operator[](std::int64_t i) const {
    const std::int64_t n = (by_rows_ ? i / chunks_ : i % groups_) * kInt8Group;
    const std::int64_t run = (by_rows_ ? i % chunks_ : i / groups_) * kInt8GroupRuns;
    return {.n = n,
            .outputs = std::min(kInt8Group, outputs_ - n),
            .run = run,
            .runs = std::min(kInt8GroupRuns, runs_ - run)};
  }

 private:
  static constexpr std::int64_t kMostCachedBytes = 768 * 1024;
  std::int64_t outputs_;
  std::int64_t runs_;
  std::int64_t groups_;
  std::int64_t chunks_;
  bool by_rows_;
};

// scratch.absmax[r][n] = absmax of run step.run + r of weight rows first_row + n.
void gather_absmax(const FourBitParts& parts, std::int64_t k, std::int64_t first_row,
                   const Step& step, const FourBitInt8GemmPath& path, Scratch& scratch) {
  const int shift = std::countr_zero(static_cast<std::uint64_t>(parts.blocksize));
  for (std::int64_t n = 0; n < step.outputs; ++n) {
    const std::int64_t value = (first_row + n) * k + step.run * kInt8Run;
    const std::int64_t first = value >> shift;
    const std::int64_t last = (value + (step.runs - 1) * kInt8Run) >> shift;
    const float* absmax = parts.absmax + first;
    if (parts.absmax == nullptr) {
      path.unnest(parts, first, last - first + 1, scratch.nested);
      absmax = scratch.nested;
    }
    for (std::int64_t r = 0; r < step.runs; ++r) {
      scratch.absmax[r * kInt8Group + n] = absmax[((value + r * kInt8Run) >> shift) - first];
    }
  }
  // Whole tiles are multiplied.
  for (std::int64_t r = 0; r < step.runs; ++r) {
    float* const row = scratch.absmax + r * kInt8Group;
    std::fill(row + step.outputs, row + kInt8Group, 0.0F);
  }
}

// Asks for what a step will unpack.
void prefetch(const FourBitParts& parts, std::int64_t k, std::int64_t first_output,
              const Step& step) {
  for (std::int64_t n = 0; n < step.outputs; ++n) {
    const std::int64_t value = (first_output + step.n + n) * k + step.run * kInt8Run;
    const std::int64_t block = value / parts.blocksize;
    if (parts.absmax != nullptr) {
      __builtin_prefetch(parts.absmax + block, 0, 2);
    } else {
      __builtin_prefetch(parts.absmax_codes + block, 0, 2);
    }
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
  const Steps steps(tile, packed);
  for (std::int64_t i = 0; i < steps.count(); ++i) {
    const Step step = steps[i];
    job.runs = step.runs;
    job.outputs = step.outputs;
    job.panels = packed.data + step.run;
    job.c = scratch.c + step.n * kInt8TileRows;
    job.first = step.run == 0;
    const std::int64_t row = tile.first_output + step.n;
    const std::int64_t at = row * (k / 2) + step.run * (kInt8Run / 2);
    std::int64_t ahead = 0;
    if (i + 1 < steps.count()) {
      const Step next = steps[i + 1];
      ahead = (tile.first_output + next.n) * (k / 2) + next.run * (kInt8Run / 2) - at;
    }
    path.unpack(parts.packed + at, k / 2, step.outputs, step.runs, ahead, codes, scratch.weights);
    gather_absmax(parts, k, row, step, path, scratch);
    if (i + 1 < steps.count()) prefetch(parts, k, tile.first_output, steps[i + 1]);
    path.multiply(job);
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
