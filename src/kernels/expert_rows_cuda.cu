// Rows to experts and back, and parts of rows from one layout to another, on a CUDA device.
#include "cuda/queue.h"
#include "kernels/each_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/rows_cuda.h"

namespace shoehorn::cuda {
namespace {

__global__ void add_rows(const float* y, const std::int32_t* rows, const float* weights,
                         const std::int64_t width, const std::int64_t items, float* sum) {
  let_next_begin();
  follow();
  for_items(0, items, [&](std::int64_t item) {
    const std::int64_t i = item / width;
    sum[rows[i] * width + item % width] += weights[i] * y[item];
  });
}

__global__ void add_in_order(const float* y, const float* weights, const int count,
                             const std::int64_t width, float* sum) {
  let_next_begin();
  follow();
  for_items(0, width, [&](std::int64_t d) {
    float total = sum[d];
    for (int i = 0; i < count; ++i) total += weights[i] * y[i * width + d];
    sum[d] = total;
  });
}

__global__ void clamp_halves(const float* both, const float limit, const float alpha,
                             const std::int64_t items, float* gate, float* up) {
  let_next_begin();
  follow();
  for_items(0, items, [&](std::int64_t i) {
    const float g = both[2 * i];
    const float u = both[2 * i + 1];
    // Comparisons that keep a NaN.
    gate[i] = alpha * (limit < g ? limit : g);
    up[i] = ((u < -limit ? -limit : limit < u ? limit : u) + 1) / alpha;
  });
}

__global__ void copy_parts(const float* from, const Runs source, float* to, const Runs target,
                           const std::int64_t count, const std::int64_t share,
                           const std::int64_t items) {
  let_next_begin();
  follow();
  for_items(0, items, [&](std::int64_t item) {
    const std::int64_t run = item / count;
    const std::int64_t i = item % count;
    to[run * target.width + target.first + i] = from[run / share * source.width + source.first + i];
  });
}

}  // namespace

void add_weighted_rows(std::span<const float> y, std::span<const std::int32_t> rows,
                       std::span<const float> weights, std::span<float> sum, ExecContext& ctx) {
  const Queue& queue = *ctx.queue;
  queue.make_current();
  const auto items = static_cast<std::int64_t>(y.size());
  launch_following(queue, "add_weighted_rows", add_rows, blocks_for(items, queue), kEachThreads, 0,
                   y.data(), rows.data(), weights.data(),
                   items / static_cast<std::int64_t>(rows.size()), items, sum.data());
}

void add_weighted(std::span<const float> y, std::span<const float> weights, std::span<float> sum,
                  ExecContext& ctx) {
  if (sum.empty()) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  const auto width = static_cast<std::int64_t>(sum.size());
  launch_following(queue, "add_weighted", add_in_order, blocks_for(width, queue), kEachThreads, 0,
                   y.data(), weights.data(), static_cast<int>(weights.size()), width, sum.data());
}

void clamp_glu(std::span<const float> both, float limit, float alpha, std::span<float> gate,
               std::span<float> up, ExecContext& ctx) {
  if (gate.empty()) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  const auto items = static_cast<std::int64_t>(gate.size());
  launch_following(queue, "clamp_glu", clamp_halves, blocks_for(items, queue), kEachThreads, 0,
                   both.data(), limit, alpha, items, gate.data(), up.data());
}

void copy_runs(std::span<const float> from, Runs source, std::span<float> to, Runs target,
               std::int64_t count, std::int64_t share, ExecContext& ctx) {
  const std::int64_t items = static_cast<std::int64_t>(to.size()) / target.width * count;
  if (items == 0) return;
  const Queue& queue = *ctx.queue;
  queue.make_current();
  launch_following(queue, "copy_runs", copy_parts, blocks_for(items, queue), kEachThreads, 0,
                   from.data(), source, to.data(), target, count, share, items);
}

}  // namespace shoehorn::cuda
