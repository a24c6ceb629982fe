// The front door of four-bit weights times int8 activations: picks the path, quantizes few rows of
// x, hands out rows of the weights.
#include "kernels/linear_four_bit_int8.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cpu_features.h"
#include "kernels/linear_four_bit_int8_paths.h"
#include "kernels/linear_pieces.h"

namespace shoehorn {
namespace {

// Above this many rows of x the blocked product is faster (measured: see linear_four_bit_bench.cc).
constexpr std::int64_t kMostDotRows = 12;
// Rows of x that are quantized at a time where there is no blocked product: bounds the workspace.
constexpr std::int64_t kMostRowsAtOnce = 64;
// Of a quantized row, 64 values: the most any path takes, and what its end is padded to.
constexpr std::int64_t kMostRunBytes = 160;
constexpr std::int64_t kMostPadding = 256;

struct Paths {
  const FourBitInt8DotPath* dot;
  const FourBitInt8GemmPath* gemm;  // null: dot products for any number of rows
};

Paths paths_for(Isa isa) {
  static const bool has_vnni = detect_cpu_features().avx512_vnni;
  if (isa == Isa::kRef) return {&ref::kFourBitInt8Dot, nullptr};
  if (isa == Isa::kAvx2 || !has_vnni) return {&avx2::kFourBitInt8Dot, nullptr};
  return {&avx512::kFourBitInt8Dot,
          isa == Isa::kAmx ? &amx::kFourBitInt8Gemm : &avx512::kFourBitInt8Gemm};
}

// Scratch of a thread: the absmax of a group of rows.
std::int64_t absmax_floats(std::int64_t k) {
  return kRowGroup * ((k / kInt8Run + 15) / 16 * 16);
}

FourBitDotJob job_of(const LinearTask& task, std::int64_t first_row, std::int64_t rows) {
  const std::int64_t n = task.weight->shape[0];
  return {.parts = four_bit_parts(*task.weight),
          .k = task.weight->shape[1],
          .rows = rows,
          .bias = task.bias.empty() ? nullptr : task.bias.data(),
          .y = task.y.data() + first_row * n,
          .ldy = n,
          .accumulate = task.accumulate};
}

void dot_rows(std::span<const LinearTask> tasks, const float* x, std::int64_t first_row,
              std::int64_t rows, const FourBitInt8DotPath& path, ExecContext& ctx) {
  const std::int64_t k = tasks.front().weight->shape[1];
  const std::int64_t row_bytes = path.row_bytes(k);
  const std::size_t mark = ctx.workspace.mark();
  std::byte* const quantized =
      ctx.workspace.take<std::byte>(static_cast<std::size_t>(rows * row_bytes)).data();
  float* const scratch =
      ctx.workspace.take<float>(static_cast<std::size_t>(absmax_floats(k) * ctx.pool.threads()))
          .data();
  for (std::int64_t m = 0; m < rows; ++m) {
    path.quantize(x + (first_row + m) * k, k, quantized + m * row_bytes);
  }
  std::array<FourBitDotJob, kMostLinearTasks> jobs;
  std::array<FourBitInt8Codes, kMostLinearTasks> codes;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    jobs[i] = job_of(tasks[i], first_row, rows);
    codes[i] = four_bit_int8_codes(tasks[i].weight->form.quant_type, jobs[i].parts.quant_map);
  }
  const RowPieces pieces(tasks, ctx.pool.threads());
  pieces.run(ctx.pool, [&](std::size_t i, std::int64_t begin, std::int64_t end, int thread) {
    path.dot(jobs[i], codes[i], quantized, begin, end, scratch + thread * absmax_floats(k));
  });
  ctx.workspace.release(mark);
}

}  // namespace

FourBitInt8Codes four_bit_int8_codes(QuantType type, const float* quant_map) {
  const float factor = four_bit_int8_factor(type);
  FourBitInt8Codes result;
  for (int i = 0; i < 16; ++i) {
    // takes_int8_rows() lets no table with other values through; a cast of one must not happen.
    const float scaled = std::nearbyint(quant_map[i] * factor);
    result.codes[i] = static_cast<std::int8_t>(std::fmax(-127.0F, std::fmin(127.0F, scaled)));
  }
  result.unit = 1.0F / factor;
  return result;
}

bool takes_int8_rows(const WeightView& weight) {
  const std::int64_t k = weight.shape[1];
  if (!weight.form.is_four_bit() || weight.compute.dtype != ComputeDtype::kInt8 || k == 0 ||
      weight.form.blocksize % kInt8Run != 0 || k % weight.form.blocksize != 0) {
    return false;
  }
  if (weight.data == nullptr) return true;  // no outputs, nothing to read
  // The table comes from the file: one with larger values than the usual -1 .. 1 does not fit.
  const float* const codes = four_bit_parts(weight).quant_map;
  return std::all_of(codes, codes + 16, [](float code) { return std::fabs(code) <= 1.0F; });
}

void linear_four_bit_int8(std::span<const LinearTask> tasks, std::span<const float> x,
                          std::int64_t rows, ExecContext& ctx) {
  const Paths paths = paths_for(ctx.isa);
  if (rows > kMostDotRows && paths.gemm != nullptr) {
    linear_four_bit_int8_gemm(tasks, x, rows, *paths.gemm, ctx);
    return;
  }
  for (std::int64_t first = 0; first < rows; first += kMostRowsAtOnce) {
    dot_rows(tasks, x.data(), first, std::min(kMostRowsAtOnce, rows - first), *paths.dot, ctx);
  }
}

std::size_t linear_four_bit_int8_workspace_bytes(std::int64_t rows, std::int64_t k, int threads) {
  const std::int64_t runs = (k + kInt8Run - 1) / kInt8Run;
  const std::int64_t row_bytes = runs * kMostRunBytes + kMostPadding;
  const std::int64_t dot =
      std::min(rows, kMostRowsAtOnce) * row_bytes +
      absmax_floats(runs * kInt8Run) * threads * static_cast<std::int64_t>(sizeof(float));
  const auto dot_bytes = static_cast<std::size_t>(dot);
  return std::max(dot_bytes, linear_four_bit_int8_gemm_workspace_bytes(rows, k, threads));
}

}  // namespace shoehorn
