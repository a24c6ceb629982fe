// The front door of linear_int8: picks the path, quantizes few rows, hands out pieces of work.
#include "kernels/linear_int8.h"

#include <algorithm>
#include <array>
#include <limits>

#include "kernels/cpu_features.h"
#include "kernels/linear_int8_gemm.h"
#include "kernels/linear_int8_paths.h"
#include "kernels/linear_pieces.h"
#include "kernels/outlier_columns.h"
#include "kernels/ranges.h"

namespace shoehorn {
namespace {

struct Paths {
  const Int8RowPath* rows = nullptr;  // null: the reference
  Int8DotPath dot = nullptr;
  const Int8GemmPath* gemm = nullptr;
};

Paths paths_for(Isa isa, std::int64_t k) {
  static const bool has_vnni = detect_cpu_features().avx512_vnni;
  if (isa == Isa::kRef || k > kMostInt8Depth) return {};
  if (isa == Isa::kAvx2 || !has_vnni) return {&avx2::kInt8Rows, avx2::dot_int8, &avx2::kInt8Gemm};
  return {&avx512::kInt8Rows, avx512::dot_int8,
          isa == Isa::kAmx ? &amx::kInt8Gemm : &avx512::kInt8Gemm};
}

// Codes in outlier columns become zero in all rows.
void clear_columns(std::span<const std::int32_t> columns, std::int8_t* q, std::int32_t& sum) {
  for (const std::int32_t column : columns) {
    sum -= q[column];
    q[column] = 0;
  }
}

void dot_rows(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
              float threshold, const Paths& paths, ExecContext& ctx) {
  const std::int64_t k = tasks.front().weight->shape[1];
  const std::int64_t ldq = padded_int8_depth(k);
  const std::size_t mark = ctx.workspace.mark();
  OutlierColumns outliers(k, ctx.pool.threads(), ctx.workspace);
  std::int8_t* const q =
      ctx.workspace.take<std::int8_t>(static_cast<std::size_t>(rows * ldq)).data();
  std::array<float, kMostInt8DotRows> stats;
  std::array<std::int32_t, kMostInt8DotRows> sums;
  for_ranges(ctx.pool, rows, 65536 / k + 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t m = begin; m < end; ++m) {
      const auto i = static_cast<std::size_t>(m);
      const float* const row = x.data() + m * k;
      stats[i] = paths.rows->scan(row, k, threshold, outliers.of_thread(thread));
      sums[i] = paths.rows->quantize(row, k, threshold, stats[i], q + m * ldq);
    }
  });
  outliers.collect();
  for (std::int64_t m = 0; m < rows; ++m) {
    clear_columns(outliers.columns(), q + m * ldq, sums[static_cast<std::size_t>(m)]);
  }
  const RowPieces pieces(tasks, ctx.pool.threads());
  pieces.run(ctx.pool, [&](std::size_t task, std::int64_t begin, std::int64_t end, int /*thread*/) {
    paths.dot({.cb = int8_parts(*tasks[task].weight).cb,
               .k = k,
               .x = x.data(),
               .q = q,
               .sums = sums.data(),
               .stats = stats.data(),
               .rows = rows,
               .columns = outliers.columns(),
               .out = int8_output(tasks[task])},
              begin, end);
  });
  ctx.workspace.release(mark);
}

// Weights of no columns: the bias is all there is.
void bias_alone(const LinearTask& task) {
  const auto outputs = static_cast<std::size_t>(task.weight->shape[0]);
  for (std::size_t i = 0; i < task.y.size(); ++i) {
    const float value = task.bias.empty() ? 0.0F : task.bias[i % outputs];
    task.y[i] = task.accumulate ? task.y[i] + value : value;
  }
}

void run_alike(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
               ExecContext& ctx) {
  const WeightView& weight = *tasks.front().weight;
  const Paths paths = paths_for(ctx.isa, weight.shape[1]);
  // Nothing compares with a NaN.
  float threshold = weight.compute.llm_int8_threshold;
  if (!(threshold > 0)) threshold = std::numeric_limits<float>::quiet_NaN();
  if (weight.shape[1] == 0) {
    for (const LinearTask& task : tasks) bias_alone(task);
  } else if (paths.rows == nullptr) {
    for (const LinearTask& task : tasks) ref::linear_int8(task, x, rows, ctx);
  } else if (rows <= kMostInt8DotRows) {
    dot_rows(tasks, x, rows, threshold, paths, ctx);
  } else {
    linear_int8_gemm(tasks, x, rows, threshold, *paths.rows, *paths.gemm, ctx);
  }
}

}  // namespace

Int8Output int8_output(const LinearTask& task) {
  const WeightView& weight = *task.weight;
  return {.scb = int8_parts(weight).scb,
          .bias = task.bias.empty() ? nullptr : task.bias.data(),
          .constant = weight.compute.bnb_cpu_constant ? kInt8BnbCpuConstant : kInt8Constant,
          .y = task.y.data(),
          .ldy = weight.shape[0],
          .accumulate = task.accumulate};
}

void linear_int8(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx) {
  // Tasks of one threshold share codes; nearly always all do.
  while (!tasks.empty()) {
    const auto now = tasks.first(std::min(tasks.size(), kMostLinearTasks));
    std::array<bool, kMostLinearTasks> done{};
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (done[i]) continue;
      const float threshold = now[i].weight->compute.llm_int8_threshold;
      std::array<LinearTask, kMostLinearTasks> alike;
      std::size_t count = 0;
      for (std::size_t j = i; j < now.size(); ++j) {
        if (j != i && now[j].weight->compute.llm_int8_threshold != threshold) continue;
        done[j] = true;
        alike[count++] = now[j];
      }
      run_alike({alike.data(), count}, x, rows, ctx);
    }
    tasks = tasks.subspan(now.size());
  }
}

std::size_t linear_int8_workspace_bytes(std::int64_t rows, std::int64_t k, int threads) {
  const auto columns = static_cast<std::size_t>(k);
  const std::size_t ref = 2 * (columns + 64);
  if (k > kMostInt8Depth) return ref;
  const std::int64_t dot_rows = std::min(rows, kMostInt8DotRows);
  const std::size_t dot = OutlierColumns::workspace_bytes(k, threads) +
                          static_cast<std::size_t>(dot_rows * padded_int8_depth(k));
  if (rows <= kMostInt8DotRows) return std::max(ref, dot);
  return std::max({ref, dot, linear_int8_gemm_workspace_bytes(rows, k, threads)});
}

}  // namespace shoehorn
