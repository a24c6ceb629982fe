// Dot products with weights whose values are decoded one at a time: 8-bit floats, in tiles too,
// 64-bit floats, GGUF blocks, and whatever the faster kernels do not take.
#include "kernels/dot_parts_cuda.h"
#include "kernels/formats_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {
namespace {

__device__ float rounded(float value, ComputeDtype dtype) {
  if (dtype == ComputeDtype::kBF16) return bf16_to_f32(f32_to_bf16(value));
  if (dtype == ComputeDtype::kF16) return f16_to_f32(f32_to_f16(value));
  return value;
}

// A warp, or a few, for each output; a value of the weight a lane and step.
template <typename Format, int kRows>
__global__ void __launch_bounds__(kDotThreads)
    dot_values(const Format format, const __grid_constant__ DotPart part, const float* x,
               const int rows, const std::int64_t k, const ComputeDtype dtype) {
  __shared__ float scratch[kDotWarps * kRows];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int split = part.split;
  const std::int64_t n = std::int64_t{blockIdx.x} * (kDotWarps / split) + warp / split;
  const std::int64_t row = n < part.n ? n : part.n - 1;
  float sums[1][kRows] = {};
  for (std::int64_t i = warp % split * kWarp + lane; i < k; i += split * kWarp) {
    const float value = format.value(row, i);
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      const float activation = rounded(x[(m < rows ? m : 0) * k + i], dtype);
      sums[0][m] = __fmaf_rn(activation, value, sums[0][m]);
    }
  }
  const float sum = collect_sums<1, kRows>(sums, split, scratch);
  if (warp % split == 0 && lane < rows && n < part.n) store_output(part, lane, n, sum);
}

template <typename Format>
void run_dot(const Format& format, const LinearTask& task, const Activations& x, ComputeDtype dtype,
             const Queue& queue) {
  const DotParts parts = dot_parts({&task, 1}, x.k, kWarp, 1, queue.card());
  if (parts.blocks == 0) return;
  queue.make_current();
  const auto kernel = x.rows == 1 ? dot_values<Format, 1> : dot_values<Format, kMostDotRows>;
  launch_in_turn(queue, "linear_dot_values", kernel, static_cast<unsigned>(parts.blocks),
                 kDotThreads, 0, format, parts.at[0], x.x, static_cast<int>(x.rows), x.k, dtype);
}

}  // namespace

void linear_dot_values(const LinearTask& task, const Activations& x, const Queue& queue) {
  const WeightView& weight = *task.weight;
  if (weight.form.is_four_bit()) {
    return run_dot(FourBitFormat::of(weight), task, x, weight.compute.dtype, queue);
  }
  if (weight.form.quant_type == QuantType::kF8Tiles) {
    return run_dot(F8TilesFormat::of(weight), task, x, ComputeDtype::kF32, queue);
  }
  const auto row_bytes = static_cast<std::int64_t>(packed_bytes(weight.form.dtype, x.k).value());
  with_plain_format(weight.form.dtype, weight.data, row_bytes, [&](const auto& format) {
    run_dot(format, task, x, ComputeDtype::kF32, queue);
  });
}

}  // namespace shoehorn::cuda
