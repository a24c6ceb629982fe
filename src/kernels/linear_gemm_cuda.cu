// Many rows of x: cuBLASLt's products on tensor cores, of x rounded to the weight's dtype and of
// weights that are decoded to it, some rows at a time, where they are not stored so.
#include <algorithm>

#include "shoehorn/error.h"

#include "cuda/blas.h"
#include "kernels/decode_weight_cuda.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/linear_cuda_paths.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 256;
// Decoded weights that are kept at a time: with few rows of x they stay in the card's cache until
// they are multiplied; with many, products are larger than what tensor cores do at once.
constexpr std::int64_t kFewRows = 128;
constexpr std::int64_t kFewRowsBytes = std::int64_t{16} << 20;
constexpr std::int64_t kManyRowsBytes = std::int64_t{64} << 20;
constexpr std::int64_t kLeastRows = 128;    // the tiles of tensor cores' products
constexpr std::int64_t kRowAlignment = 16;  // bytes, of rows of operands

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return ceil_div(value, step) * step;
}

// What a weight is multiplied in.
DType product_dtype(const WeightView& weight) {
  const DType stored = weight.form.dtype;
  const bool is_float = stored == DType::kF32 || stored == DType::kF16 || stored == DType::kBF16;
  if (is_float && !weight.form.is_quantized()) return stored;
  switch (weight.compute.dtype) {
    case ComputeDtype::kF16: return DType::kF16;
    // Of four bits float32 is what a few rows of x keep.
    case ComputeDtype::kF32: return weight.form.is_four_bit() ? DType::kBF16 : DType::kF32;
    default: return DType::kBF16;
  }
}

std::int64_t value_bytes(DType dtype) {
  return dtype == DType::kF32 ? 4 : 2;
}

std::int64_t padded_depth(std::int64_t k, DType dtype) {
  return round_up(k, kRowAlignment / value_bytes(dtype));
}

std::int64_t decoded_rows(std::int64_t rows, std::int64_t n, std::int64_t row_bytes) {
  const std::int64_t bytes = rows <= kFewRows ? kFewRowsBytes : kManyRowsBytes;
  const std::int64_t most = bytes / std::max<std::int64_t>(row_bytes, 1) / kLeastRows * kLeastRows;
  return std::clamp<std::int64_t>(n, 1, std::max(most, kLeastRows));
}

// x as operand of a product: rounded, rows padded with zeros.
struct Operand {
  const std::byte* data = nullptr;
  std::int64_t depth = 0;
};

Operand operand_of(const Activations& x, DType dtype, ExecContext& ctx) {
  const std::int64_t depth = padded_depth(x.k, dtype);
  if (dtype == DType::kF32 && depth == x.k && is_aligned(x.x, kRowAlignment)) {
    return {reinterpret_cast<const std::byte*>(x.x), depth};
  }
  std::byte* const data =
      ctx.workspace.take<std::byte>(static_cast<std::size_t>(x.rows * depth * value_bytes(dtype)))
          .data();
  round_rows(x.x, x.rows, x.k, dtype, data, depth, *ctx.queue);
  return {data, depth};
}

__global__ void add_bias(const float* bias, const std::int64_t n, const std::int64_t count,
                         float* y) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) y[i] = __fadd_rn(y[i], bias[i % n]);
}

// A few rows at a time, bias included: what cuBLASLt does not take.
void dot_in_turns(const LinearTask& task, const Activations& x, const Queue& queue) {
  const std::int64_t n = task.weight->shape[0];
  for (std::int64_t first = 0; first < x.rows; first += kMostDotRows) {
    const std::int64_t count = std::min(kMostDotRows, x.rows - first);
    LinearTask some = task;
    some.y =
        task.y.subspan(static_cast<std::size_t>(first * n), static_cast<std::size_t>(count * n));
    linear_few(some, x.some(first, count), queue);
  }
}

void multiply(const LinearTask& task, const Activations& x, const Operand& operand, DType dtype,
              ExecContext& ctx) {
  Queue& queue = *ctx.queue;
  const WeightView& weight = *task.weight;
  const std::int64_t n = weight.shape[0];
  const std::int64_t row_bytes = operand.depth * value_bytes(dtype);
  const bool is_readable = !weight.form.is_quantized() && weight.form.dtype == dtype &&
                           operand.depth == x.k && is_aligned(weight.data, kRowAlignment);
  const std::int64_t many = is_readable ? n : decoded_rows(x.rows, n, row_bytes);
  const std::size_t mark = ctx.workspace.mark();
  std::byte* const decoded =
      ctx.workspace.take<std::byte>(is_readable ? 0 : static_cast<std::size_t>(many * row_bytes))
          .data();
  bool is_done = x.k > 0;
  for (std::int64_t first = 0; first < n && is_done; first += many) {
    const std::int64_t count = std::min(many, n - first);
    if (!is_readable) {
      decode_weight_rows(weight, first, count, dtype, decoded, operand.depth, queue);
    }
    is_done = queue.blas().try_product(dtype, {.rows = x.rows,
                                               .n = count,
                                               .k = operand.depth,
                                               .x = operand.data,
                                               .w = is_readable ? weight.data : decoded,
                                               .y = task.y.data() + first,
                                               .ldy = n,
                                               .accumulate = task.accumulate});
    // Parts differ in nothing that the library looks at, but for the size of the last.
    if (!is_done && first > 0) throw DeviceError("cuBLASLt refused the rest of a product");
  }
  ctx.workspace.release(mark);
  if (!is_done) return dot_in_turns(task, x, queue);
  if (task.bias.empty()) return;
  const std::int64_t values = x.rows * n;
  queue.make_current();
  launch_in_turn(queue, "adding a bias", add_bias,
                 static_cast<unsigned>(ceil_div(values, kThreads)), kThreads, 0, task.bias.data(),
                 n, values, task.y.data());
}

}  // namespace

void linear_gemm(std::span<const LinearTask> tasks, const Activations& x, ExecContext& ctx) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const std::size_t mark = ctx.workspace.mark();
    Operand operand;
    for (const LinearTask& task : tasks) {
      if (task.weight->shape[0] == 0 || product_dtype(*task.weight) != dtype) continue;
      if (operand.data == nullptr) operand = operand_of(x, dtype, ctx);
      multiply(task, x, operand, dtype, ctx);
    }
    ctx.workspace.release(mark);
  }
}

std::size_t linear_gemm_workspace_bytes(std::int64_t rows, std::int64_t k, std::int64_t n) {
  std::int64_t most = 0;
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    const std::int64_t row_bytes = padded_depth(k, dtype) * value_bytes(dtype);
    // Of any smaller product too: a bound, not what one takes.
    const std::int64_t cap = rows <= kFewRows ? kFewRowsBytes : kManyRowsBytes;
    most = std::max(most, rows * row_bytes + std::min(std::max<std::int64_t>(n, 1) * row_bytes,
                                                      std::max(cap, kLeastRows * row_bytes)));
  }
  return static_cast<std::size_t>(most) + 2 * 64;  // each piece begins at a multiple of 64
}

}  // namespace shoehorn::cuda
