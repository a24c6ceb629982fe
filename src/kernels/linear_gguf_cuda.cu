// Dot products of a few rows of x with GGUF blocks, straight from their bytes: a warp, or a few
// that share the sums, reads two or four rows of W side by side; x comes from the nearest cache,
// where neighbouring lanes read neighbouring sixteen bytes. Codes are multiplied as float32, four
// of them before their scale.
#include "kernels/dot_parts_cuda.h"
#include "kernels/gguf_eights_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {
namespace {

// Steps that a warp has on their way at a time.
constexpr int kSteps = 2;

template <bool kIsFraction>
__device__ float number_at(std::uint32_t codes, unsigned i) {
  if constexpr (kIsFraction) {
    return __uint_as_float(__byte_perm(codes, 0x40000000U, 0x7044U | i << 8));
  } else {
    return static_cast<float>(static_cast<std::int8_t>(codes >> (8 * i)));
  }
}

// x beside one run, in registers.
struct XRun {
  float4 at;
  float sum;
};

template <bool kHasOffset>
__device__ XRun load_run(const float* x) {
  const float4 at = *reinterpret_cast<const float4*>(x);
  return {at, kHasOffset ? (at.x + at.y) + (at.z + at.w) : 0.0F};
}

template <typename Block, int kRows, int kOutputs>
__global__ void __launch_bounds__(kDotThreads)
    dot_gguf(const __grid_constant__ DotParts parts, const float* x, const int rows, const int k) {
  using Eights = GgufEights<Block>;
  constexpr int kWords = Eights::kWords;
  constexpr int kStep = 256 * kWords;
  __shared__ float scratch[kDotWarps * kOutputs * kRows];
  let_next_begin();
  const DotPart& part = parts.of_block(blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int split = part.split;
  const std::int64_t group =
      std::int64_t{blockIdx.x - static_cast<unsigned>(part.first_block)} * (kDotWarps / split) +
      warp / split;
  const std::int64_t row_bytes =
      std::int64_t{k / Eights::kValues} * static_cast<std::int64_t>(sizeof(Block));

  // Outputs behind the last read its row again and are not stored.
  const std::byte* weights[kOutputs];
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const std::int64_t n = group * kOutputs + o;
    weights[o] = part.weight + (n < part.n ? n : part.n - 1) * row_bytes;
  }

  float sums[kOutputs][kRows] = {};
  const int first = Eights::first(lane);
  const int steps = (k + kStep - 1) / kStep;
  bool has_followed = false;
  for (int step = warp % split; step < steps; step += kSteps * split) {
    typename Eights::Raw raw[kSteps][kOutputs];
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int at = step + s * split;
      // Rows may end within a step.
      if (at * kStep + first >= k) continue;
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) raw[s][o] = Eights::load(weights[o], at, lane);
    }
    // The first weights are on their way before x is there.
    if (!has_followed) follow();
    has_followed = true;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int column = (step + s * split) * kStep + first;
      if (column >= k) continue;
      GgufRuns<kWords> runs[kOutputs];
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) runs[o] = Eights::runs(raw[s][o], lane);
#pragma unroll
      for (int run = 0; run < 2 * kWords; ++run) {
        const int w = run / 2;
        const int r = run % 2;
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
          const XRun of_x = load_run<Eights::kHasOffset>(x + std::int64_t{m < rows ? m : 0} * k +
                                                         column + 4 * w + r * Eights::kApart);
#pragma unroll
          for (int o = 0; o < kOutputs; ++o) {
            const std::uint32_t codes = runs[o].codes[w][r];
            const auto number = [&](unsigned i) {
              return number_at<Eights::kIsFraction>(codes, i);
            };
            float sum = __fmul_rn(number(0), of_x.at.x);
            sum = __fmaf_rn(number(1), of_x.at.y, sum);
            sum = __fmaf_rn(number(2), of_x.at.z, sum);
            sum = __fmaf_rn(number(3), of_x.at.w, sum);
            sums[o][m] = __fmaf_rn(runs[o].scale[r], sum, sums[o][m]);
            if constexpr (Eights::kHasOffset) {
              sums[o][m] = __fmaf_rn(runs[o].offset[r], of_x.sum, sums[o][m]);
            }
          }
        }
      }
    }
  }

  if (!has_followed) follow();
  const float sum = collect_sums<kOutputs, kRows>(sums, split, scratch);
  const int m = lane % kRows;
  const std::int64_t n = group * kOutputs + lane / kRows;
  if (warp % split == 0 && lane < kOutputs * kRows && m < rows && n < part.n) {
    store_output(part, m, n, sum);
  }
}

template <typename Block, int kRows, int kOutputs>
void run_dot(std::span<const LinearTask> tasks, const Activations& x, const Queue& queue) {
  const DotParts parts =
      dot_parts(tasks, x.k, 256 * GgufEights<Block>::kWords, kOutputs, queue.card());
  if (parts.blocks == 0) return;
  queue.make_current();
  launch_following(queue, "linear_gguf", dot_gguf<Block, kRows, kOutputs>,
                   static_cast<unsigned>(parts.blocks), kDotThreads, 0, parts, x.x,
                   static_cast<int>(x.rows), static_cast<int>(x.k));
}

template <typename Block>
void run_rows(std::span<const LinearTask> tasks, const Activations& x, const Queue& queue) {
  if (x.rows == 1) return run_dot<Block, 1, 2>(tasks, x, queue);
  if (x.rows == 2) return run_dot<Block, 2, 2>(tasks, x, queue);
  if (x.rows <= 4) return run_dot<Block, 4, 2>(tasks, x, queue);
  run_dot<Block, 8, 2>(tasks, x, queue);
}

// Calls body(Block{}) with the type of a dtype's blocks; false where it has none here.
template <typename Body>
bool with_block(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kQ4_0: body(quant::BlockQ4_0{}); return true;
    case DType::kQ4_1: body(quant::BlockQ4_1{}); return true;
    case DType::kQ5_0: body(quant::BlockQ5_0{}); return true;
    case DType::kQ5_1: body(quant::BlockQ5_1{}); return true;
    case DType::kQ8_0: body(quant::BlockQ8_0{}); return true;
    case DType::kQ2_K: body(quant::BlockQ2_K{}); return true;
    case DType::kQ3_K: body(quant::BlockQ3_K{}); return true;
    case DType::kQ4_K: body(quant::BlockQ4_K{}); return true;
    case DType::kQ5_K: body(quant::BlockQ5_K{}); return true;
    case DType::kQ6_K: body(quant::BlockQ6_K{}); return true;
    case DType::kIQ4_NL: body(quant::BlockIQ4_NL{}); return true;
    case DType::kIQ4_XS: body(quant::BlockIQ4_XS{}); return true;
    case DType::kMXFP4: body(quant::BlockMXFP4{}); return true;
    default: return false;
  }
}

}  // namespace

bool takes_gguf_dot(const WeightView& weight, const Activations& x) {
  bool is_aligned_here = false;
  const bool has_blocks = !weight.form.is_quantized() && with_block(weight.form.dtype, [&](auto b) {
    is_aligned_here = is_aligned(weight.data, GgufEights<decltype(b)>::kAlignment);
  });
  return has_blocks && is_aligned_here && is_aligned(x.x, 16);
}

void linear_gguf_dot(std::span<const LinearTask> tasks, const Activations& x, const Queue& queue) {
  with_block(tasks.front().weight->form.dtype,
             [&](auto block) { run_rows<decltype(block)>(tasks, x, queue); });
}

}  // namespace shoehorn::cuda
