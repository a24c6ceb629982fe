// LLM.int8() products on a CUDA device: dot products for a few rows, cuBLASLt's integer product for
// many.
#include <algorithm>
#include <array>
#include <limits>

#include "cuda/blas.h"
#include "kernels/linear_cuda_paths.h"
#include "kernels/linear_int8_cuda_paths.h"
#include "kernels/linear_pieces.h"

namespace shoehorn::cuda {
namespace {

// Integer sums that are kept at a time. Where they are few enough to stay in the card's cache until
// they are scaled the product has too few tiles to fill the card (measured: 16, 32 and 64 MiB).
constexpr std::int64_t kSumsBytes = std::int64_t{64} << 20;
// And so many outputs, for whose outlier columns there is scratch.
constexpr std::int64_t kMostOutputs = 8192;
// Weights that are copied at a time where they do not lie as cuBLASLt wants them.
constexpr std::int64_t kCopyBytes = std::int64_t{32} << 20;
// Outputs at a time, and rows, are multiples of what tensor cores' tiles are.
constexpr std::int64_t kStep = 16;

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

// As many whole steps as fit, one at least, and no more than there are.
std::int64_t outputs_in(std::int64_t bytes, std::int64_t bytes_each, std::int64_t n) {
  return std::min(round_up(n, kStep),
                  std::max(bytes / bytes_each / kStep, std::int64_t{1}) * kStep);
}

Int8Rows take_rows(std::int64_t rows, std::int64_t k, Workspace& workspace) {
  const std::int64_t ldq = round_up(k, kInt8RowAlignment);
  const auto columns = static_cast<std::size_t>(k);
  // The integer product reads whole steps of rows; what is behind the last is never looked at.
  return {
      .q =
          workspace.take<std::int8_t>(static_cast<std::size_t>(round_up(rows, kStep) * ldq)).data(),
      .ldq = ldq,
      .stats = workspace.take<float>(static_cast<std::size_t>(rows)).data(),
      .is_column = workspace.take<std::uint8_t>(columns).data(),
      .columns = workspace.take<std::int32_t>(columns).data(),
      .column_count = workspace.take<std::int32_t>(1).data(),
      .compact =
          rows > kMostDotRows
              ? workspace.take<float>(static_cast<std::size_t>(rows * kCompactColumns)).data()
              : nullptr};
}

// A few rows at a time: what cuBLASLt does not take.
void dot_in_turns(const LinearTask& task, const Activations& x, const Int8Rows& rows,
                  const Queue& queue) {
  const std::int64_t n = task.weight->shape[0];
  for (std::int64_t first = 0; first < x.rows; first += kMostDotRows) {
    const std::int64_t count = std::min(kMostDotRows, x.rows - first);
    LinearTask some = task;
    some.y =
        task.y.subspan(static_cast<std::size_t>(first * n), static_cast<std::size_t>(count * n));
    int8_dot({&some, 1}, x.some(first, count), rows.some(first), queue);
  }
}

bool is_aligned_16(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

void multiply(const LinearTask& task, const Activations& x, const Int8Rows& rows,
              ExecContext& ctx) {
  Queue& queue = *ctx.queue;
  const WeightView& weight = *task.weight;
  const std::int64_t n = weight.shape[0];
  if (n == 0) return;
  if (x.k == 0 || x.k > kMostInt8Depth) return dot_in_turns(task, x, rows, queue);
  const Int8Parts parts = int8_parts(weight);
  const std::int64_t padded_rows = round_up(x.rows, kStep);
  const bool is_readable = x.k % kInt8RowAlignment == 0 && is_aligned_16(parts.cb);
  std::int64_t many = std::min(outputs_in(kSumsBytes, padded_rows * 4, n), kMostOutputs);
  if (!is_readable) many = std::min(many, outputs_in(kCopyBytes, rows.ldq, n));
  const std::size_t mark = ctx.workspace.mark();
  std::int32_t* const sums =
      ctx.workspace.take<std::int32_t>(static_cast<std::size_t>(padded_rows * many)).data();
  float* const compact =
      ctx.workspace.take<float>(static_cast<std::size_t>(kCompactColumns * many)).data();
  // Where all can be read, a last incomplete step is copied.
  std::int8_t* const copy =
      ctx.workspace
          .take<std::int8_t>(static_cast<std::size_t>((is_readable ? kStep : many) * rows.ldq))
          .data();
  std::int64_t count = 0;
  for (std::int64_t first = 0; first < n; first += count) {
    count = std::min(many, n - first);
    if (is_readable && count > kStep) count = count / kStep * kStep;
    const std::int64_t padded = round_up(count, kStep);
    const std::int8_t* w = parts.cb + first * x.k;
    if (!is_readable || padded != count) {
      copy_codes(parts, first, padded, copy, rows.ldq, queue);
      w = copy;
    }
    const bool is_done = queue.blas().try_int8_product({.rows = padded_rows,
                                                        .n = padded,
                                                        .k = rows.ldq,
                                                        .x = rows.q,
                                                        .w = w,
                                                        .y = sums,
                                                        .ldy = many});
    if (!is_done) {  // then for no other part of the weight either
      dot_in_turns(task, x, rows, queue);
      break;
    }
    int8_finish({.sums = sums, .ld = many, .first = first, .count = count, .compact = compact},
                task, x, rows, queue);
  }
  ctx.workspace.release(mark);
}

}  // namespace

void linear_int8(std::span<const LinearTask> tasks, const Activations& x, ExecContext& ctx) {
  const std::size_t mark = ctx.workspace.mark();
  const Int8Rows rows = take_rows(x.rows, x.k, ctx.workspace);
  // Nothing compares with a NaN.
  float threshold = tasks.front().weight->compute.llm_int8_threshold;
  if (!(threshold > 0)) threshold = std::numeric_limits<float>::quiet_NaN();
  quantize_rows(x, threshold, rows, *ctx.queue);
  if (x.rows <= kMostDotRows) {
    int8_dot(tasks, x, rows, *ctx.queue);
  } else {
    for (const LinearTask& task : tasks) multiply(task, x, rows, ctx);
  }
  ctx.workspace.release(mark);
}

std::size_t linear_int8_workspace_bytes(std::int64_t rows, std::int64_t k, std::int64_t n) {
  constexpr std::int64_t kRounding = 10 * 64;  // each piece begins at a multiple of 64
  const std::int64_t ldq = round_up(k, kInt8RowAlignment);
  const std::int64_t padded_rows = round_up(rows, kStep);
  std::int64_t bytes = padded_rows * ldq + rows * 4 * (1 + kCompactColumns) + k * 5 + 4 + kRounding;
  if (rows > kMostDotRows) {
    // Of any smaller product too: these are bounds, not what one takes.
    const std::int64_t outputs = round_up(n, kStep);
    bytes += std::min(outputs * padded_rows * 4, std::max(kSumsBytes, kStep * padded_rows * 4)) +
             std::min(outputs, kMostOutputs) * kCompactColumns * 4 +
             std::min(outputs * ldq, std::max(kCopyBytes, kStep * ldq));
  }
  return static_cast<std::size_t>(bytes);
}

}  // namespace shoehorn::cuda
