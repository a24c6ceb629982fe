// Many rows times four-bit weights in bfloat16: rounds and packs x once, cuts the product into
// tiles for the threads, decodes a group of weight rows at a time into the nearest cache and
// multiplies all panels of x with them.
#include "kernels/linear_four_bit_bf16.h"

#include <algorithm>
#include <array>

#include "kernels/decode_four_bit_paths.h"
#include "kernels/decode_row.h"
#include "kernels/linear_four_bit_bf16_paths.h"
#include "kernels/linear_pieces.h"

namespace shoehorn {
namespace {

// As linear_four_bit_int8_gemm.cc has them.
constexpr std::int64_t kPackedRows = 512;
constexpr std::int64_t kTileOutputs = 128;

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

constexpr std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return ceil_div(value, step) * step;
}

// One thread's scratch.
struct Scratch {
  alignas(64) std::uint16_t weights[kBf16Group * kBf16Stride];
  alignas(64) float decoded[kBf16Depth];
  float* c = nullptr;  // [panels][outputs][16]
};

struct PackedRows {
  Bf16PanelBlock* data;  // [panels][blocks]
  std::int64_t first;    // row of x and y
  std::int64_t rows;
  std::int64_t blocks;

  std::int64_t panels() const { return ceil_div(rows, kBf16Rows); }
};

// Sixteen rows of x, or fewer and zeros.
void pack_panel(const float* x, std::int64_t k, std::int64_t rows, Bf16PanelBlock* panel, Isa isa) {
  std::array<std::uint16_t, kBf16Rows * kBf16Stride> rounded{};
  for (std::int64_t k0 = 0; k0 < k; k0 += kBf16Depth) {
    const std::int64_t depth = std::min(kBf16Depth, k - k0);
    if (depth < kBf16Depth) rounded.fill(0);
    for (std::int64_t m = 0; m < rows; ++m) {
      encode_row(DType::kBF16, x + m * k + k0, depth,
                 reinterpret_cast<std::byte*>(rounded.data() + m * kBf16Stride), isa);
    }
    for (std::int64_t at = 0; at < depth; at += kBf16Columns) {
      amx::pack_bf16(rounded.data() + at, kBf16Stride, panel[(k0 + at) / kBf16Columns]);
    }
  }
}

// Columns k0 .. k0 + depth - 1 of `count` weight rows in bfloat16; zeros up to whole tiles. Rows
// before `last_row` that are decoded next are asked for.
void decode_group(const FourBitParts& parts, std::int64_t k, std::int64_t first_row,
                  std::int64_t count, std::int64_t last_row, std::int64_t k0, std::int64_t depth,
                  Isa isa, Scratch& scratch) {
  const DecodeFourBitPath decode = decode_four_bit_path(isa);
  const std::int64_t padded = round_up(depth, kBf16Columns);
  for (std::int64_t n = 0; n < kBf16Group; ++n) {
    std::uint16_t* const out = scratch.weights + n * kBf16Stride;
    if (n < count) {
      const std::int64_t ahead = first_row + n + kBf16Group;
      const std::uint8_t* const next = parts.packed + (ahead * k + k0) / 2;
      for (std::int64_t at = 0; at < depth / 2 && ahead < last_row; at += 64) {
        __builtin_prefetch(next + at, 0, 2);
      }
      decode(parts, (first_row + n) * k + k0, depth, scratch.decoded);
      encode_row(DType::kBF16, scratch.decoded, depth, reinterpret_cast<std::byte*>(out), isa);
      std::fill(out + depth, out + padded, std::uint16_t{0});
    } else {
      std::fill(out, out + padded, std::uint16_t{0});
    }
  }
}

void run_tile(const LinearTask& task, std::int64_t first_output, std::int64_t outputs,
              const PackedRows& packed, Scratch& scratch, Isa isa) {
  const WeightView& weight = *task.weight;
  const FourBitParts parts = four_bit_parts(weight);
  const std::int64_t k = weight.shape[1];
  Bf16Multiply job{.weights = scratch.weights,
                   .panel_blocks = packed.blocks,
                   .panel_count = packed.panels(),
                   .c_outputs = round_up(outputs, kBf16Group)};
  for (std::int64_t k0 = 0; k0 < k; k0 += kBf16Depth) {
    const std::int64_t depth = std::min(kBf16Depth, k - k0);
    job.blocks = ceil_div(depth, kBf16Columns);
    job.panels = packed.data + k0 / kBf16Columns;
    job.first = k0 == 0;
    for (std::int64_t n = 0; n < outputs; n += kBf16Group) {
      decode_group(parts, k, first_output + n, std::min(kBf16Group, outputs - n),
                   first_output + outputs, k0, depth, isa, scratch);
      job.c = scratch.c + n * kBf16Rows;
      amx::multiply_bf16(job);
    }
  }
  const std::int64_t ldy = weight.shape[0];
  const float* const bias = task.bias.empty() ? nullptr : task.bias.data() + first_output;
  for (std::int64_t i = 0; i < packed.panels(); ++i) {
    const std::int64_t row = i * kBf16Rows;
    amx::store_bf16(scratch.c + i * job.c_outputs * kBf16Rows, outputs,
                    std::min(kBf16Rows, packed.rows - row), bias, task.accumulate,
                    task.y.data() + (packed.first + row) * ldy + first_output, ldy);
  }
}

void multiply_packed(std::span<const LinearTask> tasks, const PackedRows& packed,
                     std::span<Scratch> scratch, ExecContext& ctx) {
  std::int64_t all_outputs = 0;
  for (const LinearTask& task : tasks) all_outputs += task.weight->shape[0];
  // Eight tiles a thread if that leaves tiles worth decoding for.
  const std::int64_t share = all_outputs / (std::int64_t{8} * ctx.pool.threads());
  const std::int64_t width = std::clamp(round_up(share, kBf16Group), kBf16Group, kTileOutputs);
  std::array<std::int64_t, kMostLinearTasks + 1> first_piece{};
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    first_piece[i + 1] = first_piece[i] + ceil_div(tasks[i].weight->shape[0], width);
  }
  ctx.pool.parallel_for(first_piece[tasks.size()], [&](std::int64_t piece, int thread) {
    std::size_t i = tasks.size() - 1;
    while (first_piece[i] > piece) --i;
    const std::int64_t first_output = (piece - first_piece[i]) * width;
    run_tile(tasks[i], first_output, std::min(width, tasks[i].weight->shape[0] - first_output),
             packed, scratch[static_cast<std::size_t>(thread)], ctx.isa);
  });
}

constexpr std::int64_t result_floats(std::int64_t panels) {
  return panels * kTileOutputs * kBf16Rows;
}

}  // namespace

bool takes_bf16_tiles(const WeightView& weight, Isa isa) {
  return isa == Isa::kAmx && weight.form.is_four_bit() &&
         weight.compute.dtype == ComputeDtype::kBF16;
}

void linear_four_bit_bf16(std::span<const LinearTask> tasks, std::span<const float> x,
                          std::int64_t rows, ExecContext& ctx) {
  const std::int64_t k = tasks.front().weight->shape[1];
  const std::int64_t blocks = ceil_div(k, kBf16Columns);
  const std::int64_t most_panels = ceil_div(std::min(rows, kPackedRows), kBf16Rows);
  const std::size_t mark = ctx.workspace.mark();
  const auto panels =
      ctx.workspace.take<Bf16PanelBlock>(static_cast<std::size_t>(most_panels * blocks));
  const auto scratch = ctx.workspace.take<Scratch>(static_cast<std::size_t>(ctx.pool.threads()));
  for (Scratch& of_thread : scratch) {
    of_thread.c =
        ctx.workspace.take<float>(static_cast<std::size_t>(result_floats(most_panels))).data();
  }
  for (std::int64_t first = 0; first < rows; first += kPackedRows) {
    const PackedRows packed{.data = panels.data(),
                            .first = first,
                            .rows = std::min(kPackedRows, rows - first),
                            .blocks = blocks};
    ctx.pool.parallel_for(packed.panels(), [&](std::int64_t panel, int /*thread*/) {
      const std::int64_t row = panel * kBf16Rows;
      pack_panel(x.data() + (first + row) * k, k, std::min(kBf16Rows, packed.rows - row),
                 packed.data + panel * blocks, ctx.isa);
    });
    multiply_packed(tasks, packed, scratch, ctx);
  }
  ctx.workspace.release(mark);
}

std::size_t linear_four_bit_bf16_workspace_bytes(std::int64_t rows, std::int64_t k, int threads) {
  const std::int64_t most_panels = ceil_div(std::min(rows, kPackedRows), kBf16Rows);
  const auto blocks = static_cast<std::size_t>(most_panels * ceil_div(k, kBf16Columns));
  const std::size_t results = static_cast<std::size_t>(result_floats(most_panels)) * sizeof(float);
  return blocks * sizeof(Bf16PanelBlock) +
         static_cast<std::size_t>(threads) * (sizeof(Scratch) + results);
}

}  // namespace shoehorn
