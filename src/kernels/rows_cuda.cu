// Sums, products, rotations and copies on a CUDA device. Each kernel has a path of 16-byte moves
// and one for any length and alignment.
#include <algorithm>
#include <cassert>

#include "cuda/queue.h"
#include "kernels/each_cuda.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/rows_cuda.h"
#include "kernels/split_columns.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 256;

// ---- element by element ----

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

struct Scale {
  float* x;
  float factor;

  __device__ void one(std::int64_t i) const { x[i] *= factor; }
  __device__ void four(std::int64_t i) const {
    const float4 a = reinterpret_cast<float4*>(x)[i];
    reinterpret_cast<float4*>(x)[i] = map_four(a, [&](float v) { return v * factor; });
  }
  bool is_aligned() const { return are_aligned_16({x}); }
};

// The product is rounded before the sum, as scale.cc does.
struct AddScaled {
  float* x;
  const float* y;
  float factor;

  __device__ float sum(float a, float b) const { return __fadd_rn(a, __fmul_rn(factor, b)); }
  __device__ void one(std::int64_t i) const { x[i] = sum(x[i], y[i]); }
  __device__ void four(std::int64_t i) const {
    const float4 a = reinterpret_cast<float4*>(x)[i];
    const float4 b = reinterpret_cast<const float4*>(y)[i];
    reinterpret_cast<float4*>(x)[i] = map_four(a, b, [&](float v, float w) { return sum(v, w); });
  }
  bool is_aligned() const { return are_aligned_16({x, y}); }
};

struct SoftCap {
  float* x;
  float cap;

  __device__ float capped(float value) const { return cap * tanhf(value / cap); }
  __device__ void one(std::int64_t i) const { x[i] = capped(x[i]); }
  __device__ void four(std::int64_t i) const {
    const float4 a = reinterpret_cast<float4*>(x)[i];
    reinterpret_cast<float4*>(x)[i] = map_four(a, [&](float v) { return capped(v); });
  }
  bool is_aligned() const { return are_aligned_16({x}); }
};

// A kernel rather than a copy of the driver's: the next one may begin while it ends.
struct Copy {
  const float* from;
  float* to;

  __device__ void one(std::int64_t i) const { to[i] = from[i]; }
  __device__ void four(std::int64_t i) const {
    reinterpret_cast<float4*>(to)[i] = reinterpret_cast<const float4*>(from)[i];
  }
  bool is_aligned() const { return are_aligned_16({from, to}); }
};

// ---- rows put together and taken apart ----

constexpr int kMostStacked = 64;  // of a launch: its arguments hold their addresses

struct Stack {
  const float* rows[kMostStacked];
  std::int64_t width;
  float* to;
};

// A block a row.
__global__ void stack(const __grid_constant__ Stack job) {
  let_next_begin();
  follow();
  const float* const from = job.rows[blockIdx.x];
  float* const to = job.to + blockIdx.x * job.width;
  for (std::int64_t i = threadIdx.x; i < job.width; i += blockDim.x) to[i] = from[i];
}

// The shares of a run are at [begin[p], begin[p + 1]) of it; those that are not there are empty.
struct Split {
  const float* x;
  std::int64_t width;  // of a run
  std::int64_t begin[kMostSplitParts + 1];
  float* parts[kMostSplitParts];
};

// blockIdx.x is the run. kWide: four values of one share a thread.
template <bool kWide>
__global__ void split(const Split job) {
  let_next_begin();
  follow();
  constexpr int kStep = kWide ? 4 : 1;
  const std::int64_t run = blockIdx.x;
  const float* const from = job.x + run * job.width;
  const std::int64_t step = std::int64_t{gridDim.y} * blockDim.x * kStep;
  for (std::int64_t i = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * kStep;
       i < job.width; i += step) {
#pragma unroll
    for (std::size_t p = 0; p < kMostSplitParts; ++p) {
      const std::int64_t begin = job.begin[p];
      const std::int64_t end = job.begin[p + 1];
      if (i < begin || i >= end) continue;
      float* const to = job.parts[p] + run * (end - begin) + (i - begin);
      if constexpr (kWide) {
        *reinterpret_cast<float4*>(to) = *reinterpret_cast<const float4*>(from + i);
      } else {
        *to = from[i];
      }
    }
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

void scale(std::span<float> x, float factor, ExecContext& ctx) {
  run_each(Scale{x.data(), factor}, x.size(), *ctx.queue, "scale");
}

void add_scaled(std::span<float> x, std::span<const float> y, float factor, ExecContext& ctx) {
  run_each(AddScaled{x.data(), y.data(), factor}, x.size(), *ctx.queue, "add_scaled");
}

void soft_cap(std::span<float> x, float cap, ExecContext& ctx) {
  run_each(SoftCap{x.data(), cap}, x.size(), *ctx.queue, "soft_cap");
}

void copy_values(std::span<const float> from, std::span<float> to, ExecContext& ctx) {
  run_each(Copy{from.data(), to.data()}, to.size(), *ctx.queue, "copy_values");
}

void stack_rows(std::span<const float* const> rows, std::int64_t width, std::span<float> to,
                ExecContext& ctx) {
  const Queue& queue = *ctx.queue;
  queue.make_current();
  for (std::size_t first = 0; first < rows.size(); first += kMostStacked) {
    const auto some = rows.subspan(first, std::min<std::size_t>(kMostStacked, rows.size() - first));
    Stack job{
        .rows = {}, .width = width, .to = to.data() + first * static_cast<std::size_t>(width)};
    std::ranges::copy(some, job.rows);
    launch_following(queue, "stack_rows", stack, static_cast<unsigned>(some.size()), kThreads, 0,
                     job);
  }
}

void split_columns(std::span<const float> x, std::int64_t runs,
                   std::span<const std::span<float>> parts, ExecContext& ctx) {
  assert(parts.size() <= kMostSplitParts);
  if (x.empty()) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  Split job{
      .x = x.data(), .width = static_cast<std::int64_t>(x.size()) / runs, .begin = {}, .parts = {}};
  bool is_wide = are_aligned_16({x.data()});
  std::int64_t end = 0;
  for (std::size_t p = 0; p < kMostSplitParts; ++p) {
    if (p < parts.size()) {
      const std::int64_t share = static_cast<std::int64_t>(parts[p].size()) / runs;
      job.parts[p] = parts[p].data();
      is_wide = is_wide && share % 4 == 0 && are_aligned_16({parts[p].data()});
      end += share;
    }
    job.begin[p + 1] = end;
  }
  const std::int64_t items = is_wide ? job.width / 4 : job.width;
  const auto threads =
      static_cast<unsigned>(std::min<std::int64_t>(ceil_div(items, kWarp) * kWarp, kThreads));
  const dim3 grid(static_cast<unsigned>(runs),
                  static_cast<unsigned>(std::min<std::int64_t>(ceil_div(items, threads), 1024)));
  launch_following(queue, "split_columns", is_wide ? split<true> : split<false>, grid, threads, 0,
                   job);
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
