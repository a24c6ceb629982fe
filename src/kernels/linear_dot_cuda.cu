// Dot products of a few rows of x with F32, F16 and BF16 weights, bound by reading the weights
// once: a warp, or a few that share the sums, reads two or four rows of W side by side, 16 bytes a
// lane and many of them on their way at once; x comes from the nearest cache.
#include "kernels/dot_parts_cuda.h"
#include "kernels/instructions_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {
namespace {

template <typename T>
struct Stored;

template <>
struct Stored<float> {
  static constexpr int kValues = 4;
  static __device__ void unpack(const uint4& bytes, float (&out)[kValues]) {
    out[0] = __uint_as_float(bytes.x);
    out[1] = __uint_as_float(bytes.y);
    out[2] = __uint_as_float(bytes.z);
    out[3] = __uint_as_float(bytes.w);
  }
};

template <>
struct Stored<__nv_bfloat16> {
  static constexpr int kValues = 8;
  static __device__ void unpack(const uint4& bytes, float (&out)[kValues]) {
    const std::uint32_t words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = __uint_as_float(words[i] << 16);
      out[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000U);
    }
  }
};

template <>
struct Stored<__half> {
  static constexpr int kValues = 8;
  static __device__ void unpack(const uint4& bytes, float (&out)[kValues]) {
    const std::uint32_t words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      __half2_raw pair;
      pair.x = static_cast<unsigned short>(words[i]);
      pair.y = static_cast<unsigned short>(words[i] >> 16);
      const float2 values = __half22float2(pair);
      out[2 * i] = values.x;
      out[2 * i + 1] = values.y;
    }
  }
};

// Values of x beside 16 bytes of the weight, zeros behind the end of the row.
template <int kValues, bool kAligned>
__device__ void load_x(const float* row, int first, int k, float (&out)[kValues]) {
  if constexpr (kAligned) {
#pragma unroll
    for (int i = 0; i < kValues; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(row + first + i);
      out[i] = four.x;
      out[i + 1] = four.y;
      out[i + 2] = four.z;
      out[i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kValues; ++i) out[i] = first + i < k ? row[first + i] : 0.0F;
  }
}

// kAligned: rows of W and of x begin at multiples of 16 bytes and are whole groups of them. The
// order of sums is the same without.
template <typename T, int kRows, int kOutputs, bool kAligned>
__global__ void __launch_bounds__(kDotThreads)
    dot(const __grid_constant__ DotParts parts, const float* x, const int rows, const int k) {
  constexpr int kValues = Stored<T>::kValues;
  constexpr int kSteps = 8 / kOutputs;  // 16-byte loads of a lane on their way: 8
  __shared__ float scratch[kDotWarps * kOutputs * kRows];
  let_next_begin();
  const DotPart& part = parts.of_block(blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int split = part.split;
  const std::int64_t group =
      std::int64_t{blockIdx.x - static_cast<unsigned>(part.first_block)} * (kDotWarps / split) +
      warp / split;
  const std::int64_t row_bytes = std::int64_t{k} * static_cast<std::int64_t>(sizeof(T));

  // Outputs behind the last read its row again and are not stored.
  const std::byte* weights[kOutputs];
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const std::int64_t n = group * kOutputs + o;
    weights[o] = part.weight + (n < part.n ? n : part.n - 1) * row_bytes;
  }

  float sums[kOutputs][kRows] = {};
  const int chunks = (k + kValues - 1) / kValues;
  const int stride = split * kWarp;
  bool has_followed = false;
  for (int chunk = warp % split * kWarp + lane; chunk < chunks; chunk += kSteps * stride) {
    uint4 bytes[kSteps][kOutputs];
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int at = chunk + s * stride;
      if (at >= chunks) continue;
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
        bytes[s][o] = kAligned ? load_once(weights[o] + std::int64_t{at} * 16)
                               : gather_bytes(weights[o] + std::int64_t{at} * 16,
                                              row_bytes - std::int64_t{at} * 16);
      }
    }
    // The first weights are on their way before x is there.
    if (!has_followed) follow();
    has_followed = true;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int at = chunk + s * stride;
      if (at >= chunks) continue;
      float w[kOutputs][kValues];
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) Stored<T>::unpack(bytes[s][o], w[o]);
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        float activations[kValues];
        load_x<kValues, kAligned>(x + std::int64_t{m < rows ? m : 0} * k, at * kValues, k,
                                  activations);
#pragma unroll
        for (int o = 0; o < kOutputs; ++o) {
#pragma unroll
          for (int i = 0; i < kValues; ++i) {
            sums[o][m] = __fmaf_rn(activations[i], w[o][i], sums[o][m]);
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

template <typename T, int kRows, int kOutputs>
void run_dot(std::span<const LinearTask> tasks, const Activations& x, const Queue& queue) {
  constexpr int kValues = Stored<T>::kValues;
  const DotParts parts = dot_parts(tasks, x.k, kValues * kWarp, kOutputs, queue.card());
  if (parts.blocks == 0) return;
  bool is_aligned_all = x.k % kValues == 0 && is_aligned(x.x, 16);
  for (int i = 0; i < parts.count; ++i) is_aligned_all &= is_aligned(parts.at[i].weight, 16);
  const auto kernel =
      is_aligned_all ? dot<T, kRows, kOutputs, true> : dot<T, kRows, kOutputs, false>;
  queue.make_current();
  launch_following(queue, "linear_dot", kernel, static_cast<unsigned>(parts.blocks), kDotThreads, 0,
                   parts, x.x, static_cast<int>(x.rows), static_cast<int>(x.k));
}

// More rows of W side by side where more rows of x are read for them.
template <typename T>
void run_rows(std::span<const LinearTask> tasks, const Activations& x, const Queue& queue) {
  if (x.rows == 1) return run_dot<T, 1, 2>(tasks, x, queue);
  if (x.rows == 2) return run_dot<T, 2, 2>(tasks, x, queue);
  if (x.rows <= 4) return run_dot<T, 4, 4>(tasks, x, queue);
  run_dot<T, 8, 4>(tasks, x, queue);
}

}  // namespace

void linear_dot(std::span<const LinearTask> tasks, const Activations& x, const Queue& queue) {
  switch (tasks.front().weight->form.dtype) {
    case DType::kF32: return run_rows<float>(tasks, x, queue);
    case DType::kF16: return run_rows<__half>(tasks, x, queue);
    default: return run_rows<__nv_bfloat16>(tasks, x, queue);
  }
}

}  // namespace shoehorn::cuda
