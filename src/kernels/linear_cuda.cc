// The front door of linear() on CUDA devices: tasks that are multiplied alike share a launch.
#include "kernels/linear_cuda.h"

#include <algorithm>
#include <array>
#include <limits>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/linear_cuda_paths.h"
#include "kernels/linear_pieces.h"
#include "kernels/rows_cuda.h"

namespace shoehorn::cuda {
namespace {

enum class Way : std::uint8_t {
  kStored,
  kGguf,
  kValues,
  kFourBit,
  kFourBitInt8,
  kFourBitTiles,
  kInt8,
  kGemm
};

bool is_stored_float(const WeightView& weight) {
  const DType dtype = weight.form.dtype;
  return !weight.form.is_quantized() &&
         (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16);
}

Way way_of(const WeightView& weight, const Activations& x, const Card& card) {
  if (weight.form.quant_type == QuantType::kInt8) return Way::kInt8;
  const bool is_four_bit = weight.form.is_four_bit();
  if (is_four_bit && x.rows <= kMostTileRows && takes_four_bit_tiles(weight, x, card)) {
    return Way::kFourBitTiles;
  }
  if (x.rows > kMostDotRows) return Way::kGemm;
  if (is_four_bit) {
    if (takes_four_bit_int8_dot(weight, x)) return Way::kFourBitInt8;
    return takes_four_bit_dot(weight, x) ? Way::kFourBit : Way::kValues;
  }
  if (is_stored_float(weight)) return Way::kStored;
  return takes_gguf_dot(weight, x) ? Way::kGguf : Way::kValues;
}

// Whether two tasks of one way may be in one launch.
bool are_alike(Way way, const WeightView& a, const WeightView& b) {
  switch (way) {
    case Way::kStored:
    case Way::kGguf: return a.form.dtype == b.form.dtype;
    case Way::kFourBit:
    case Way::kFourBitInt8:
    case Way::kFourBitTiles:
      return a.form.blocksize == b.form.blocksize && a.form.nested == b.form.nested &&
             a.compute.dtype == b.compute.dtype;
    case Way::kInt8: return a.compute.llm_int8_threshold == b.compute.llm_int8_threshold;
    case Way::kGemm: return true;
    case Way::kValues: break;
  }
  return false;
}

void run_alike(Way way, std::span<const LinearTask> tasks, const Activations& x, ExecContext& ctx) {
  switch (way) {
    case Way::kStored: return linear_dot(tasks, x, *ctx.queue);
    case Way::kGguf: return linear_gguf_dot(tasks, x, *ctx.queue);
    case Way::kValues: return linear_dot_values(tasks.front(), x, *ctx.queue);
    case Way::kFourBit: return linear_four_bit_dot(tasks, x, *ctx.queue);
    case Way::kFourBitInt8: return linear_four_bit_int8_dot(tasks, x, ctx);
    case Way::kFourBitTiles: return linear_four_bit_tiles(tasks, x, *ctx.queue);
    case Way::kInt8: return linear_int8(tasks, x, ctx);
    case Way::kGemm: return linear_gemm(tasks, x, ctx);
  }
}

// At most kMostLinearTasks tasks.
void run_some(std::span<const LinearTask> tasks, const Activations& x, ExecContext& ctx) {
  std::array<bool, kMostLinearTasks> done{};
  for (std::size_t first = 0; first < tasks.size(); ++first) {
    if (done[first]) continue;
    const WeightView& weight = *tasks[first].weight;
    const Way way = way_of(weight, x, ctx.queue->card());
    std::array<LinearTask, kMostLinearTasks> alike;
    std::size_t count = 0;
    for (std::size_t i = first; i < tasks.size(); ++i) {
      const WeightView& other = *tasks[i].weight;
      if (i != first && (done[i] || way_of(other, x, ctx.queue->card()) != way ||
                         !are_alike(way, weight, other))) {
        continue;
      }
      alike[count++] = tasks[i];
      done[i] = true;
    }
    run_alike(way, {alike.data(), count}, x, ctx);
  }
}

}  // namespace

void linear_few(const LinearTask& task, const Activations& x, const Queue& queue) {
  switch (way_of(*task.weight, x, queue.card())) {
    case Way::kStored: return linear_dot({&task, 1}, x, queue);
    case Way::kGguf: return linear_gguf_dot({&task, 1}, x, queue);
    case Way::kFourBit: return linear_four_bit_dot({&task, 1}, x, queue);
    case Way::kFourBitTiles: return linear_four_bit_tiles({&task, 1}, x, queue);
    default: return linear_dot_values(task, x, queue);
  }
}

void linear_many(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx) {
  const Activations activations{x.data(), rows, static_cast<std::int64_t>(x.size()) / rows};
  // Kernels count columns in 32 bits.
  if (activations.k > std::numeric_limits<std::int32_t>::max() / 2) {
    throw UnsupportedError(
        str_cat("linear: weights of ", activations.k, " columns on a CUDA device"));
  }
  while (!tasks.empty()) {
    const auto now = tasks.first(std::min(tasks.size(), kMostLinearTasks));
    run_some(now, activations, ctx);
    tasks = tasks.subspan(now.size());
  }
}

void linear_gated(Activation activation, const LinearTask& gate, const LinearTask& up,
                  std::span<const float> x, std::int64_t rows, ExecContext& ctx) {
  const Activations activations{x.data(), rows, static_cast<std::int64_t>(x.size()) / rows};
  if (rows <= kMostTileRows && takes_four_bit_gate(gate, up, activations, ctx.queue->card())) {
    return linear_four_bit_gate(activation, gate, up, activations, *ctx.queue);
  }
  const std::array<LinearTask, 2> both{gate, up};
  cuda::linear_many(both, x, rows, ctx);
  cuda::gate_mul(activation, gate.y, up.y, gate.y, ctx);
}

std::size_t linear_workspace_bytes(std::int64_t rows, std::int64_t k, std::int64_t n) {
  const std::size_t gemm = rows > kMostDotRows ? linear_gemm_workspace_bytes(rows, k, n) : 0;
  return std::max({gemm, linear_int8_workspace_bytes(rows, k, n),
                   linear_four_bit_int8_workspace_bytes(rows, k)});
}

}  // namespace shoehorn::cuda
