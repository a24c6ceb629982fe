// The front door of linear: checks sizes, picks the path, cuts the weights into pieces of work.
#include "kernels/linear.h"

#include <algorithm>
#include <array>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/decode_row_paths.h"
#include "kernels/decode_weight.h"
#include "kernels/linear_four_bit_int8.h"
#include "kernels/linear_gguf.h"
#include "kernels/linear_int8.h"
#include "kernels/linear_paths.h"

namespace shoehorn {
namespace {

// Above this many rows of x the blocked product is faster than dot products (measured: see
// linear_bench.cc).
constexpr std::int64_t kMostDotRows = 8;
// The smallest piece: two microseconds of reading. Less makes handing out cost, more makes the last
// piece late.
constexpr std::size_t kLeastPieceBytes = 32 * 1024;
// Below this the caller's own core is done before another one has noticed.
constexpr std::size_t kAloneBytes = 48 * 1024;
// Rows of a weight that a kernel works on together.
constexpr std::int64_t kRowGroup = 4;
constexpr std::size_t kMostTasks = 16;

void require_task(const LinearTask& task, std::int64_t k, std::int64_t rows) {
  const WeightView& weight = *task.weight;
  if (weight.shape.rank() != 2 || weight.shape[1] != k) {
    throw ArgumentError(str_cat("linear: weight ", to_string(weight.shape),
                                " does not multiply rows of ", k, " values"));
  }
  const std::int64_t n = weight.shape[0];
  if (static_cast<std::int64_t>(task.y.size()) != rows * n) {
    throw ArgumentError(
        str_cat("linear: y of ", task.y.size(), " values for ", rows, " rows of ", n, " outputs"));
  }
  if (!task.bias.empty() && static_cast<std::int64_t>(task.bias.size()) != n) {
    throw ArgumentError(
        str_cat("linear: bias of ", task.bias.size(), " values for ", n, " outputs"));
  }
  if (!weight.form.is_quantized() && decode_path_for(weight.form.dtype, Isa::kRef) == nullptr) {
    throw UnsupportedError(str_cat("linear: weights of dtype ", to_string(weight.form.dtype),
                                   "; floating and GGUF block types are"));
  }
  if (n > 0 && k > 0 && weight.data == nullptr) {
    throw ArgumentError("linear: the weight is not in memory");
  }
}

// Null where rows are decoded to float32 first.
DotPath dot_path(const WeightForm& form, Isa isa) {
  if (form.is_quantized()) return nullptr;
  switch (form.dtype) {
    case DType::kF32:
      return isa >= Isa::kAvx512 ? avx512::dot_f32
             : isa >= Isa::kAvx2 ? avx2::dot_f32
                                 : ref::dot_f32;
    case DType::kBF16:
      return isa >= Isa::kAvx512 ? avx512::dot_bf16
             : isa >= Isa::kAvx2 ? avx2::dot_bf16
                                 : ref::dot_bf16;
    case DType::kF16:
      return isa >= Isa::kAvx512 ? avx512::dot_f16
             : isa >= Isa::kAvx2 ? avx2::dot_f16
                                 : ref::dot_f16;
    default: return gguf_dot_path(form.dtype, isa);
  }
}

// One task's share of the loop: row groups first_group .. of all tasks' groups in a row.
struct TaskGroups {
  DotJob job;
  const WeightView* weight = nullptr;
  DotPath dot = nullptr;
  std::int64_t outputs = 0;
  std::int64_t first_group = 0;

  std::int64_t groups() const { return (outputs + kRowGroup - 1) / kRowGroup; }
};

// Of a quantized weight its share of all bytes, scales included: what a piece of work reads.
std::size_t row_bytes(const WeightView& weight) {
  if (!weight.form.is_quantized()) return packed_bytes(weight.form.dtype, weight.shape[1]).value();
  const auto rows = static_cast<std::size_t>(std::max(weight.shape[0], std::int64_t{1}));
  return form_bytes(weight.form, weight.shape).value() / rows;
}

TaskGroups groups_of(const LinearTask& task, std::span<const float> x, std::int64_t rows,
                     std::int64_t first_group, Isa isa) {
  const WeightView& weight = *task.weight;
  const std::int64_t outputs = weight.shape[0];
  return {.job = {.weight = weight.data,
                  .row_bytes = row_bytes(weight),
                  .k = weight.shape[1],
                  .x = x.data(),
                  .rows = rows,
                  .bias = task.bias.empty() ? nullptr : task.bias.data(),
                  .y = task.y.data(),
                  .ldy = outputs,
                  .accumulate = task.accumulate},
          .weight = &weight,
          .dot = dot_path(weight.form, isa),
          .outputs = outputs,
          .first_group = first_group};
}

// Pieces of shrinking size (guided self-scheduling, Polychronopoulos and Kuck 1987): long ones
// first, because the start of each is not prefetched, short ones last, so that all threads end
// together.
struct Pieces {
  static constexpr std::size_t kMost = 512;
  std::array<std::int64_t, kMost + 1> begin;
  std::int64_t count = 0;

  Pieces(std::int64_t groups, std::int64_t least, int threads) {
    std::int64_t at = 0;
    begin[0] = 0;
    while (at < groups) {
      const std::int64_t share = (groups - at) / (2 * threads);
      at = std::min(groups, at + std::max(share, least));
      if (static_cast<std::size_t>(count) + 1 == kMost) at = groups;
      begin[static_cast<std::size_t>(++count)] = at;
    }
  }
};

// Forms without a kernel of their own: a row is decoded to float32 in scratch that stays in the
// nearest cache, then multiplied from there.
void dot_decoded(const TaskGroups& task, std::int64_t begin, std::int64_t end, float* scratch,
                 Isa isa) {
  const DotPath dot = dot_path({.dtype = DType::kF32}, isa);
  DotJob job = task.job;
  job.weight = reinterpret_cast<const std::byte*>(scratch);
  for (std::int64_t n = begin; n < end; ++n) {
    decode_columns(*task.weight, n, 0, job.k, scratch, isa);
    job.y = task.job.y + n;
    job.bias = task.job.bias == nullptr ? nullptr : task.job.bias + n;
    dot(job, 0, 1);
  }
}

// The three ways to multiply: tasks of one way share what is done to x, and a loop.
enum class Arithmetic { kFloat, kInt8, kFourBitInt8 };

Arithmetic arithmetic_of(const WeightView& weight) {
  if (weight.form.quant_type == QuantType::kInt8) return Arithmetic::kInt8;
  if (takes_int8_rows(weight)) return Arithmetic::kFourBitInt8;
  return Arithmetic::kFloat;
}

void linear_dot(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
                ExecContext& ctx) {
  std::array<TaskGroups, kMostTasks> all;
  std::int64_t groups = 0;
  std::size_t bytes = 0;
  std::int64_t scratch_floats = 0;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    all[i] = groups_of(tasks[i], x, rows, groups, ctx.isa);
    groups += all[i].groups();
    bytes += static_cast<std::size_t>(all[i].outputs) * all[i].job.row_bytes;
    if (all[i].dot == nullptr) scratch_floats = (all[i].job.k + 15) / 16 * 16;
  }
  if (groups == 0) return;
  const std::size_t mark = ctx.workspace.mark();
  float* const scratch =
      ctx.workspace.take<float>(static_cast<std::size_t>(scratch_floats * ctx.pool.threads()))
          .data();
  const auto run_groups = [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const TaskGroups& task = all[i];
      const std::int64_t first = std::max(begin - task.first_group, std::int64_t{0});
      const std::int64_t last = std::min(end - task.first_group, task.groups());
      if (first >= last) continue;
      const std::int64_t first_output = first * kRowGroup;
      const std::int64_t end_output = std::min(last * kRowGroup, task.outputs);
      if (task.dot != nullptr) {
        task.dot(task.job, first_output, end_output);
      } else {
        dot_decoded(task, first_output, end_output, scratch + scratch_floats * thread, ctx.isa);
      }
    }
  };
  if (bytes <= kAloneBytes || ctx.pool.threads() == 1) {
    run_groups(0, groups, 0);
  } else {
    const std::size_t group_bytes = bytes / static_cast<std::size_t>(groups) + 1;
    const Pieces pieces(groups, static_cast<std::int64_t>(kLeastPieceBytes / group_bytes) + 1,
                        ctx.pool.threads());
    ctx.pool.parallel_for(pieces.count, [&](std::int64_t piece, int thread) {
      const auto i = static_cast<std::size_t>(piece);
      run_groups(pieces.begin[i], pieces.begin[i + 1], thread);
    });
  }
  ctx.workspace.release(mark);
}

void run_alike(Arithmetic arithmetic, std::span<const LinearTask> tasks, std::span<const float> x,
               std::int64_t rows, std::int64_t k, ExecContext& ctx) {
  if (arithmetic == Arithmetic::kInt8) {
    linear_int8(tasks, x, rows, ctx);
  } else if (arithmetic == Arithmetic::kFourBitInt8) {
    linear_four_bit_int8(tasks, x, rows, ctx);
  } else if (rows <= kMostDotRows || k == 0 || ctx.isa == Isa::kRef) {
    linear_dot(tasks, x, rows, ctx);
  } else {
    linear_gemm(tasks, x, rows, ctx);
  }
}

}  // namespace

void linear(const WeightView& weight, std::span<const float> bias, std::span<const float> x,
            std::int64_t rows, std::span<float> y, ExecContext& ctx) {
  const LinearTask task{.weight = &weight, .bias = bias, .y = y};
  linear_many({&task, 1}, x, rows, ctx);
}

void linear_many(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx) {
  if (tasks.empty()) return;
  if (rows < 0 || (rows == 0 && !x.empty()) ||
      (rows > 0 && x.size() % static_cast<std::size_t>(rows) != 0)) {
    throw ArgumentError(str_cat("linear: x of ", x.size(), " values is not ", rows, " rows"));
  }
  if (rows == 0) return;
  const std::int64_t k = static_cast<std::int64_t>(x.size()) / rows;
  for (const LinearTask& task : tasks) require_task(task, k, rows);
  while (!tasks.empty()) {
    const auto now = tasks.first(std::min(tasks.size(), kMostTasks));
    for (const Arithmetic arithmetic :
         {Arithmetic::kFloat, Arithmetic::kInt8, Arithmetic::kFourBitInt8}) {
      std::array<LinearTask, kMostTasks> alike;
      std::size_t count = 0;
      for (const LinearTask& task : now) {
        if (arithmetic_of(*task.weight) == arithmetic) alike[count++] = task;
      }
      if (count > 0) run_alike(arithmetic, {alike.data(), count}, x, rows, k, ctx);
    }
    tasks = tasks.subspan(now.size());
  }
}

std::size_t linear_workspace_bytes(std::int64_t rows, std::int64_t k, int threads) {
  const std::size_t row = static_cast<std::size_t>((k + 15) / 16 * 16) * sizeof(float);
  const std::size_t decoded = row * static_cast<std::size_t>(threads);
  const std::size_t gemm = rows > kMostDotRows ? linear_gemm_workspace_bytes(rows, k, threads) : 0;
  return std::max({decoded, gemm, linear_int8_workspace_bytes(rows, k, threads),
                   linear_four_bit_int8_workspace_bytes(rows, k, threads)});
}

}  // namespace shoehorn
