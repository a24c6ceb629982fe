// Several four-bit weights in one launch, and how blocks of threads that stay on a multiprocessor
// are shared among them. Included by .cu files only.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

#include "kernels/activation.h"
#include "kernels/formats_cuda.h"
#include "kernels/lanes_cuda.h"
#include "kernels/linear.h"
#include "kernels/linear_cuda_paths.h"
#include "kernels/linear_pieces.h"

namespace shoehorn::cuda {

/// One weight of a launch.
struct FourBitPart {
  FourBitAddresses at;
  const float* bias = nullptr;
  float* y = nullptr;
  std::int64_t n = 0;
  std::int32_t first_block = 0;
  std::int32_t blocks = 0;
  bool accumulate = false;
  // Of a gated product, which stores activation(this one) times that of `up`.
  FourBitAddresses up = {};
  const float* up_bias = nullptr;
};

struct FourBitJob {
  FourBitPart parts[kMostLinearTasks];
  int count = 0;
  const float* x = nullptr;
  int rows = 0;
  int k = 0;
  int tile_chunks = 0;  // 32 columns each: of x in shared memory at a time
  int block_shift = 0;  // log2 of the blocksize
  ComputeDtype dtype = ComputeDtype::kF32;
  Activation activation = Activation::kSilu;  // of a gated product

  __device__ const FourBitPart& of_block(unsigned block) const {
    int i = 0;
    while (i + 1 < count && block >= static_cast<unsigned>(parts[i + 1].first_block)) ++i;
    return parts[i];
  }
};

/// A block for each weight, and the others of one for each multiprocessor by their shares of the
/// outputs. More blocks than multiprocessors would wait for others to end.
inline void share_blocks(FourBitJob& job, int multiprocessors, int group) {
  std::int64_t outputs = 0;
  for (int i = 0; i < job.count; ++i) outputs += job.parts[i].n;
  const std::int64_t others = std::max(multiprocessors - job.count, 0);
  std::int32_t next = 0;
  std::int64_t before = 0;
  for (int i = 0; i < job.count; ++i) {
    FourBitPart& part = job.parts[i];
    const std::int64_t share = (before + part.n) * others / outputs - before * others / outputs + 1;
    before += part.n;
    part.first_block = next;
    part.blocks = static_cast<std::int32_t>(std::min(share, ceil_div(part.n, group)));
    next += part.blocks;
  }
}

/// Of weights of one form and compute dtype; the blocks are not shared yet.
inline FourBitJob four_bit_job(std::span<const LinearTask> tasks, const Activations& x) {
  const WeightView& first = *tasks.front().weight;
  FourBitJob job{.x = x.x,
                 .rows = static_cast<int>(x.rows),
                 .k = static_cast<int>(x.k),
                 .block_shift = std::countr_zero(static_cast<std::uint64_t>(first.form.blocksize)),
                 .dtype = first.compute.dtype};
  for (const LinearTask& task : tasks) {
    const std::int64_t n = task.weight->shape[0];
    if (n == 0) continue;
    job.parts[job.count++] = {.at = four_bit_addresses(*task.weight),
                              .bias = task.bias.empty() ? nullptr : task.bias.data(),
                              .y = task.y.data(),
                              .n = n,
                              .accumulate = task.accumulate};
  }
  return job;
}

}  // namespace shoehorn::cuda
