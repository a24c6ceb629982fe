// Norms, activations, rotations and sums on a CUDA device. Each kernel has a path of 16-byte moves
// and one for any length and alignment.
#include <algorithm>

#include "cuda/check.h"
#include "cuda/queue.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/rows_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 256;

// Blocks for `items` of work, a thread an item, and a loop where they are too many.
unsigned blocks_for(std::int64_t items, const Queue& queue) {
  const std::int64_t most = std::int64_t{16} * queue.card().multiprocessors;
  return static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(items, kThreads), 1, most));
}

// ---- element by element ----

__device__ float silu_mul_one(float gate, float up) {
  return gate / (1.0F + expf(-gate)) * up;
}

struct SiluMul {
  const float* gate;
  const float* up;
  float* out;

  __device__ void one(std::int64_t i) const { out[i] = silu_mul_one(gate[i], up[i]); }
  __device__ void four(std::int64_t i) const {
    const float4 g = reinterpret_cast<const float4*>(gate)[i];
    const float4 u = reinterpret_cast<const float4*>(up)[i];
    reinterpret_cast<float4*>(out)[i] = {silu_mul_one(g.x, u.x), silu_mul_one(g.y, u.y),
                                         silu_mul_one(g.z, u.z), silu_mul_one(g.w, u.w)};
  }
  bool is_aligned() const { return are_aligned_16({gate, up, out}); }
};

struct Add {
  float* x;
  const float* y;

  __device__ void one(std::int64_t i) const { x[i] += y[i]; }
  __device__ void four(std::int64_t i) const {
    float4 a = reinterpret_cast<float4*>(x)[i];
    const float4 b = reinterpret_cast<const float4*>(y)[i];
    a = {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
    reinterpret_cast<float4*>(x)[i] = a;
  }
  bool is_aligned() const { return are_aligned_16({x, y}); }
};

template <typename T>
struct Round {
  float* x;

  __device__ static float rounded(float value) { return to_float(from_float<T>(value)); }
  __device__ void one(std::int64_t i) const { x[i] = rounded(x[i]); }
  __device__ void four(std::int64_t i) const {
    float4 a = reinterpret_cast<float4*>(x)[i];
    a = {rounded(a.x), rounded(a.y), rounded(a.z), rounded(a.w)};
    reinterpret_cast<float4*>(x)[i] = a;
  }
  bool is_aligned() const { return are_aligned_16({x}); }
};

// The first `fours` runs of four, then what is left up to `size`.
template <typename Each>
__global__ void for_each(const Each each, const std::int64_t fours, const std::int64_t size) {
  let_next_begin();
  follow();
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (std::int64_t i = first; i < fours; i += step) each.four(i);
  for (std::int64_t i = 4 * fours + first; i < size; i += step) each.one(i);
}

template <typename Each>
void run_each(const Each& each, std::size_t count, const Queue& queue, const char* name) {
  if (count == 0) return;
  const auto size = static_cast<std::int64_t>(count);
  const std::int64_t fours = each.is_aligned() ? size / 4 : 0;
  queue.make_current();
  launch_following(queue, name, for_each<Each>, blocks_for(fours > 0 ? fours : size, queue),
                   kThreads, 0, each, fours, size);
}

// ---- rms_norm ----

// A block a row, which stays in registers between the two passes: kFours runs of four a thread.
template <int kFours>
__global__ void __launch_bounds__(1024)
    rms_norm_fours(const float4* x, const float4* weight, float eps, int fours, float4* y) {
  let_next_begin();
  follow();
  __shared__ float scratch[kWarp];
  const float4* const row = x + std::int64_t{blockIdx.x} * fours;
  float4* const to = y + std::int64_t{blockIdx.x} * fours;
  float4 values[kFours];
  float4 weights[kFours];
  float sum = 0;
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const int i = static_cast<int>(threadIdx.x + j * blockDim.x);
    values[j] = i < fours ? row[i] : float4{};
    weights[j] = i < fours ? weight[i] : float4{};
  }
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const float4 v = values[j];
    sum += (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
  }
  const float mean = block_sum(sum, scratch) / static_cast<float>(4 * std::int64_t{fours});
  const float scale = 1.0F / sqrtf(mean + eps);
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const int i = static_cast<int>(threadIdx.x + j * blockDim.x);
    const float4 v = values[j];
    const float4 w = weights[j];
    if (i < fours) {
      to[i] = {w.x * (v.x * scale), w.y * (v.y * scale), w.z * (v.z * scale), w.w * (v.w * scale)};
    }
  }
}

__global__ void rms_norm_any(const float* x, const float* weight, float eps, std::int64_t width,
                             float* y) {
  let_next_begin();
  follow();
  __shared__ float scratch[kWarp];
  const float* const row = x + blockIdx.x * width;
  float* const to = y + blockIdx.x * width;
  float sum = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += blockDim.x) sum += row[i] * row[i];
  const float mean = block_sum(sum, scratch) / static_cast<float>(width);
  const float scale = 1.0F / sqrtf(mean + eps);
  for (std::int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    to[i] = weight[i] * (row[i] * scale);
  }
}

// ---- rotation ----

// Products are rounded before the sum, as rope.cc does.
__device__ void rotate(float& a, float& b, float cos, float sin) {
  const float first = __fsub_rn(__fmul_rn(a, cos), __fmul_rn(b, sin));
  b = __fadd_rn(__fmul_rn(b, cos), __fmul_rn(a, sin));
  a = first;
}

struct Rotary {
  float* x;
  const float* cos;
  const float* sin;
  int heads;
  int head_dim;
  int n;  // half of rotary_dim
};

// blockIdx.x is the row. kWide: four angles a thread, whose values are 16-byte aligned.
template <bool kWide>
__global__ void rotate_halves(const Rotary job) {
  let_next_begin();
  follow();
  constexpr int kStep = kWide ? 4 : 1;
  const int steps = job.n / kStep;
  const std::int64_t row = blockIdx.x;
  float* const x = job.x + row * job.heads * job.head_dim;
  const float* const cos = job.cos + row * job.n;
  const float* const sin = job.sin + row * job.n;
  const int items = job.heads * steps;
  for (int item = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x); item < items;
       item += static_cast<int>(gridDim.y * blockDim.x)) {
    const int i = item % steps * kStep;
    float* const first = x + std::int64_t{item / steps} * job.head_dim + i;
    float* const second = first + job.n;
    if constexpr (kWide) {
      float4 a = *reinterpret_cast<const float4*>(first);
      float4 b = *reinterpret_cast<const float4*>(second);
      const float4 c = *reinterpret_cast<const float4*>(cos + i);
      const float4 s = *reinterpret_cast<const float4*>(sin + i);
      rotate(a.x, b.x, c.x, s.x);
      rotate(a.y, b.y, c.y, s.y);
      rotate(a.z, b.z, c.z, s.z);
      rotate(a.w, b.w, c.w, s.w);
      *reinterpret_cast<float4*>(first) = a;
      *reinterpret_cast<float4*>(second) = b;
    } else {
      rotate(*first, *second, cos[i], sin[i]);
    }
  }
}

// kWide: two pairs a thread.
template <bool kWide>
__global__ void rotate_pairs(const Rotary job) {
  let_next_begin();
  follow();
  constexpr int kStep = kWide ? 2 : 1;
  const int steps = job.n / kStep;
  const std::int64_t row = blockIdx.x;
  float* const x = job.x + row * job.heads * job.head_dim;
  const float* const cos = job.cos + row * job.n;
  const float* const sin = job.sin + row * job.n;
  const int items = job.heads * steps;
  for (int item = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x); item < items;
       item += static_cast<int>(gridDim.y * blockDim.x)) {
    const int i = item % steps * kStep;
    float* const pair = x + std::int64_t{item / steps} * job.head_dim + 2 * i;
    if constexpr (kWide) {
      float4 v = *reinterpret_cast<const float4*>(pair);
      const float2 c = *reinterpret_cast<const float2*>(cos + i);
      const float2 s = *reinterpret_cast<const float2*>(sin + i);
      rotate(v.x, v.y, c.x, s.x);
      rotate(v.z, v.w, c.y, s.y);
      *reinterpret_cast<float4*>(pair) = v;
    } else {
      rotate(pair[0], pair[1], cos[i], sin[i]);
    }
  }
}

dim3 rotary_grid(const RotaryShape& shape, int step) {
  const std::int64_t items = shape.heads * (shape.rotary_dim / 2 / step);
  return {static_cast<unsigned>(shape.rows),
          static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(items, kThreads), 1, 1024)), 1};
}

bool has_rotation(const RotaryShape& shape) {
  return shape.rows > 0 && shape.heads > 0 && shape.rotary_dim > 0;
}

Rotary rotary_job(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                  std::span<const float> sin) {
  return {.x = x.data(),
          .cos = cos.data(),
          .sin = sin.data(),
          .heads = static_cast<int>(shape.heads),
          .head_dim = static_cast<int>(shape.head_dim),
          .n = static_cast<int>(shape.rotary_dim / 2)};
}

}  // namespace

void silu_mul(std::span<const float> gate, std::span<const float> up, std::span<float> out,
              ExecContext& ctx) {
  run_each(SiluMul{gate.data(), up.data(), out.data()}, out.size(), *ctx.queue, "silu_mul");
}

void add(std::span<float> x, std::span<const float> y, ExecContext& ctx) {
  run_each(Add{x.data(), y.data()}, x.size(), *ctx.queue, "add");
}

void round_values(DType dtype, std::span<float> x, ExecContext& ctx) {
  if (dtype == DType::kF16) {
    run_each(Round<__half>{x.data()}, x.size(), *ctx.queue, "round_values");
  } else if (dtype == DType::kBF16) {
    run_each(Round<__nv_bfloat16>{x.data()}, x.size(), *ctx.queue, "round_values");
  }
}

void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::int64_t rows,
              std::span<float> y, ExecContext& ctx) {
  const auto width = static_cast<std::int64_t>(weight.size());
  if (rows == 0 || width == 0) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  const auto grid = static_cast<unsigned>(rows);
  // Whole warps, at most 1024 threads.
  const auto threads_for = [](std::int64_t items) {
    return static_cast<unsigned>(std::min<std::int64_t>(ceil_div(items, kWarp) * kWarp, 1024));
  };
  constexpr int kMostFours = 4;
  const std::int64_t fours = width / 4;
  const bool is_wide = width % 4 == 0 && are_aligned_16({x.data(), weight.data(), y.data()});
  if (!is_wide || fours > 1024 * kMostFours) {
    launch_following(queue, "rms_norm", rms_norm_any, grid, threads_for(width), 0, x.data(),
                     weight.data(), eps, width, y.data());
  } else {
    const auto* const from = reinterpret_cast<const float4*>(x.data());
    const auto* const by = reinterpret_cast<const float4*>(weight.data());
    auto* const to = reinterpret_cast<float4*>(y.data());
    const int size = static_cast<int>(fours);
    // The width alone decides, so that a row's sum does not depend on how many rows there are.
    if (fours <= 1024) {
      launch_following(queue, "rms_norm", rms_norm_fours<1>, grid, threads_for(fours), 0, from, by,
                       eps, size, to);
    } else {
      launch_following(queue, "rms_norm", rms_norm_fours<kMostFours>, grid,
                       threads_for(ceil_div(fours, kMostFours)), 0, from, by, eps, size, to);
    }
  }
}

void apply_rotary_halves(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                         std::span<const float> sin, ExecContext& ctx) {
  if (!has_rotation(shape)) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  const Rotary job = rotary_job(x, shape, cos, sin);
  const bool is_wide = job.n % 4 == 0 && shape.head_dim % 4 == 0 &&
                       are_aligned_16({x.data(), cos.data(), sin.data()});
  if (is_wide) {
    launch_following(queue, "apply_rotary_halves", rotate_halves<true>, rotary_grid(shape, 4),
                     kThreads, 0, job);
  } else {
    launch_following(queue, "apply_rotary_halves", rotate_halves<false>, rotary_grid(shape, 1),
                     kThreads, 0, job);
  }
}

void apply_rotary_pairs(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                        std::span<const float> sin, ExecContext& ctx) {
  if (!has_rotation(shape)) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  const Rotary job = rotary_job(x, shape, cos, sin);
  const bool is_wide = job.n % 2 == 0 && shape.head_dim % 4 == 0 && is_aligned(x.data(), 16) &&
                       is_aligned(cos.data(), 8) && is_aligned(sin.data(), 8);
  if (is_wide) {
    launch_following(queue, "apply_rotary_pairs", rotate_pairs<true>, rotary_grid(shape, 2),
                     kThreads, 0, job);
  } else {
    launch_following(queue, "apply_rotary_pairs", rotate_pairs<false>, rotary_grid(shape, 1),
                     kThreads, 0, job);
  }
}

}  // namespace shoehorn::cuda
