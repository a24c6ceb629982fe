// The front door of linear: checks sizes, picks the path, cuts the weights into pieces of work.
#include "kernels/linear.h"

#include <algorithm>
#include <array>
#include <vector>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/decode_row_paths.h"
#include "kernels/decode_weight.h"
#include "kernels/linear_cuda.h"
#include "kernels/linear_four_bit.h"
#include "kernels/linear_four_bit_bf16.h"
#include "kernels/linear_four_bit_int8.h"
#include "kernels/linear_gguf.h"
#include "kernels/linear_int8.h"
#include "kernels/linear_paths.h"
#include "kernels/linear_pieces.h"

namespace shoehorn {
namespace {

// Above this many rows of x the blocked product is faster than dot products (measured: see
// linear_bench.cc).
constexpr std::int64_t kMostDotRows = 8;
static_assert(kMostDotRows <= kMostFourBitDotRows);

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

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

// What the dot products of one weight need.
struct TaskDots {
  DotJob job;
  const WeightView* weight = nullptr;
  DotPath dot = nullptr;
};

TaskDots dots_of(const LinearTask& task, std::span<const float> x, std::int64_t rows, Isa isa) {
  const WeightView& weight = *task.weight;
  return {.job = {.weight = weight.data,
                  .row_bytes = weight_row_bytes(weight),
                  .k = weight.shape[1],
                  .x = x.data(),
                  .rows = rows,
                  .bias = task.bias.empty() ? nullptr : task.bias.data(),
                  .y = task.y.data(),
                  .ldy = weight.shape[0],
                  .accumulate = task.accumulate},
          .weight = &weight,
          .dot = dot_path(weight.form, isa)};
}

// Forms without a kernel of their own: a row is decoded to float32 in scratch that stays in the
// nearest cache, then multiplied from there.
void dot_decoded(const TaskDots& task, std::int64_t begin, std::int64_t end, float* scratch,
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

// At most kMostLinearTasks tasks in all.
void linear_dot(std::span<const LinearGroup> groups, ExecContext& ctx) {
  std::array<LinearTask, kMostLinearTasks> tasks;
  std::array<TaskDots, kMostLinearTasks> all;
  std::size_t count = 0;
  std::int64_t scratch_floats = 0;
  for (const LinearGroup& group : groups) {
    for (const LinearTask& task : group.tasks) {
      tasks[count] = task;
      all[count] = dots_of(task, group.x, group.rows, ctx.isa);
      if (all[count].dot == nullptr) {
        scratch_floats = std::max(scratch_floats, round_up(all[count].job.k, 16));
      }
      ++count;
    }
  }
  const std::size_t mark = ctx.workspace.mark();
  float* const scratch =
      ctx.workspace.take<float>(static_cast<std::size_t>(scratch_floats * ctx.pool.threads()))
          .data();
  const RowPieces pieces({tasks.data(), count}, ctx.pool.threads());
  pieces.run(ctx.pool, [&](std::size_t i, std::int64_t begin, std::int64_t end, int thread) {
    if (all[i].dot != nullptr) {
      all[i].dot(all[i].job, begin, end);
    } else {
      dot_decoded(all[i], begin, end, scratch + scratch_floats * thread, ctx.isa);
    }
  });
  ctx.workspace.release(mark);
}

// The ways to multiply. Tasks of one way share what is done to x, and a loop.
enum class Arithmetic : std::uint8_t { kFloat, kFourBitDot, kFourBitBf16, kInt8, kFourBitInt8 };

struct Way {
  Arithmetic arithmetic = Arithmetic::kFloat;
  ComputeDtype activations = ComputeDtype::kF32;  // what x is rounded to first
  friend bool operator==(const Way&, const Way&) = default;
};

Way way_of(const WeightView& weight, std::int64_t rows, Isa isa) {
  if (weight.form.quant_type == QuantType::kInt8) return {.arithmetic = Arithmetic::kInt8};
  if (!weight.form.is_four_bit()) return {};
  if (takes_int8_rows(weight)) return {.arithmetic = Arithmetic::kFourBitInt8};
  if (rows > kMostDotRows && takes_bf16_tiles(weight, isa)) {
    return {.arithmetic = Arithmetic::kFourBitBf16};
  }
  const ComputeDtype dtype = weight.compute.dtype;
  const bool direct = rows <= kMostDotRows && takes_four_bit_dot(weight, isa);
  return {.arithmetic = direct ? Arithmetic::kFourBitDot : Arithmetic::kFloat,
          .activations = dtype == ComputeDtype::kInt8 ? ComputeDtype::kF32 : dtype};
}

void run_few(const Way& way, std::span<const LinearTask> tasks, std::span<const float> x,
             std::int64_t rows, ExecContext& ctx) {
  const std::size_t mark = ctx.workspace.mark();
  if (way.activations != ComputeDtype::kF32) {
    const auto rounded = ctx.workspace.take<float>(x.size());
    std::copy(x.begin(), x.end(), rounded.begin());
    round_activations(way.activations, rounded, ctx.isa);
    x = rounded;
  }
  if (way.arithmetic == Arithmetic::kFourBitDot) {
    linear_four_bit_dot(tasks, x, rows, ctx);
  } else {
    const LinearGroup group{tasks, x, rows};
    linear_dot({&group, 1}, ctx);
  }
  ctx.workspace.release(mark);
}

// The plain truth takes any number of rows, a few at a time: the workspace is counted for those.
void run_ref(const Way& way, std::span<const LinearTask> tasks, std::span<const float> x,
             std::int64_t rows, std::int64_t k, ExecContext& ctx) {
  std::array<LinearTask, kMostLinearTasks> some;
  for (std::int64_t first = 0; first < rows; first += kMostDotRows) {
    const std::int64_t count = std::min(kMostDotRows, rows - first);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const std::int64_t n = tasks[i].weight->shape[0];
      some[i] = tasks[i];
      some[i].y = tasks[i].y.subspan(static_cast<std::size_t>(first * n),
                                     static_cast<std::size_t>(count * n));
    }
    run_few(way, {some.data(), tasks.size()},
            x.subspan(static_cast<std::size_t>(first * k), static_cast<std::size_t>(count * k)),
            count, ctx);
  }
}

void run_alike(const Way& way, std::span<const LinearTask> tasks, std::span<const float> x,
               std::int64_t rows, std::int64_t k, ExecContext& ctx) {
  if (way.arithmetic == Arithmetic::kInt8) {
    linear_int8(tasks, x, rows, ctx);
  } else if (way.arithmetic == Arithmetic::kFourBitInt8) {
    linear_four_bit_int8(tasks, x, rows, ctx);
  } else if (way.arithmetic == Arithmetic::kFourBitBf16 && k > 0) {
    linear_four_bit_bf16(tasks, x, rows, ctx);
  } else if (rows <= kMostDotRows || k == 0) {
    run_few(way, tasks, x, rows, ctx);
  } else if (ctx.isa == Isa::kRef) {
    run_ref(way, tasks, x, rows, k, ctx);
  } else {
    const LinearGroup group{tasks, x, rows};
    linear_gemm({&group, 1}, way.activations, ctx);
  }
}

// At most kMostLinearTasks tasks, those of one way together.
void run_some(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
              std::int64_t k, ExecContext& ctx) {
  std::array<Way, kMostLinearTasks> ways;
  for (std::size_t i = 0; i < tasks.size(); ++i) ways[i] = way_of(*tasks[i].weight, rows, ctx.isa);
  std::array<bool, kMostLinearTasks> done{};
  for (std::size_t first = 0; first < tasks.size(); ++first) {
    if (done[first]) continue;
    std::array<LinearTask, kMostLinearTasks> alike;
    std::size_t count = 0;
    for (std::size_t i = first; i < tasks.size(); ++i) {
      if (!(ways[i] == ways[first])) continue;
      alike[count++] = tasks[i];
      done[i] = true;
    }
    run_alike(ways[first], {alike.data(), count}, x, rows, k, ctx);
  }
}

/// Columns of x.
std::int64_t require_tasks(std::span<const LinearTask> tasks, std::span<const float> x,
                           std::int64_t rows) {
  if (rows < 0 || (rows == 0 && !x.empty()) ||
      (rows > 0 && x.size() % static_cast<std::size_t>(rows) != 0)) {
    throw ArgumentError(str_cat("linear: x of ", x.size(), " values is not ", rows, " rows"));
  }
  if (rows == 0) return 0;
  const std::int64_t k = static_cast<std::int64_t>(x.size()) / rows;
  for (const LinearTask& task : tasks) require_task(task, k, rows);
  return k;
}

// Groups of few rows, as many at a time as a loop takes.
void dot_groups(std::span<const LinearGroup> groups, ExecContext& ctx) {
  while (!groups.empty()) {
    std::size_t count = 0;
    std::size_t tasks = 0;
    while (count < groups.size() && tasks + groups[count].tasks.size() <= kMostLinearTasks) {
      tasks += groups[count++].tasks.size();
    }
    linear_dot(groups.first(count), ctx);
    groups = groups.subspan(count);
  }
}

/// Whether the loops of floating weights can take the group.
bool shares_loops(const LinearGroup& group, Isa isa) {
  return isa != Isa::kRef && group.tasks.size() <= kMostLinearTasks && !group.x.empty() &&
         std::ranges::all_of(group.tasks, [&](const LinearTask& task) {
           return way_of(*task.weight, group.rows, isa) == Way{};
         });
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
  const std::int64_t k = require_tasks(tasks, x, rows);
  if (rows == 0) return;
  if (ctx.queue != nullptr) return cuda::linear_many(tasks, x, rows, ctx);
  while (!tasks.empty()) {
    const auto now = tasks.first(std::min(tasks.size(), kMostLinearTasks));
    run_some(now, x, rows, k, ctx);
    tasks = tasks.subspan(now.size());
  }
}

void linear_groups(std::span<const LinearGroup> groups, ExecContext& ctx) {
  for (const LinearGroup& group : groups) require_tasks(group.tasks, group.x, group.rows);
  std::vector<LinearGroup> few;
  std::vector<LinearGroup> many;
  for (const LinearGroup& group : groups) {
    if (ctx.queue != nullptr || !shares_loops(group, ctx.isa)) {
      linear_many(group.tasks, group.x, group.rows, ctx);
    } else {
      (group.rows <= kMostDotRows ? few : many).push_back(group);
    }
  }
  dot_groups(few, ctx);
  if (!many.empty()) linear_gemm(many, ComputeDtype::kF32, ctx);
}

void linear_gated(Activation activation, const LinearTask& gate, const LinearTask& up,
                  std::span<const float> x, std::int64_t rows, ExecContext& ctx) {
  const std::array<LinearTask, 2> both{gate, up};
  require_tasks(both, x, rows);
  if (gate.y.size() != up.y.size() || gate.accumulate || up.accumulate) {
    throw ArgumentError("linear: gate and up of different sizes, or added to what is there");
  }
  if (rows == 0) return;
  if (ctx.queue != nullptr) return cuda::linear_gated(activation, gate, up, x, rows, ctx);
  linear_many(both, x, rows, ctx);
  gate_mul(activation, gate.y, up.y, gate.y, ctx);
}

std::size_t linear_workspace_bytes(std::int64_t rows, std::int64_t k, int threads) {
  const std::int64_t few_rows = std::min(rows, kMostDotRows);
  const auto bytes = [](std::int64_t floats) {
    return static_cast<std::size_t>(round_up(floats, 16)) * sizeof(float);
  };
  const std::size_t rounded = bytes(few_rows * k);
  const std::size_t decoded = bytes(round_up(k, 16) * threads);
  const std::size_t few =
      rounded + std::max(decoded, linear_four_bit_dot_workspace_bytes(k, threads));
  const std::size_t gemm = rows > kMostDotRows ? linear_gemm_workspace_bytes(rows, k, threads) : 0;
  return std::max({few, gemm, linear_four_bit_bf16_workspace_bytes(rows, k, threads),
                   linear_int8_workspace_bytes(rows, k, threads),
                   linear_four_bit_int8_workspace_bytes(rows, k, threads)});
}

}  // namespace shoehorn
