// Few rows times four-bit weights: orders x for the kernels, hands out rows of the weights.
#include "kernels/linear_four_bit.h"

#include <array>

#include "kernels/linear_four_bit_paths.h"
#include "kernels/linear_pieces.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kStep = 64;          // K is a multiple of it
constexpr std::int64_t kWidestChunk = 128;  // of all paths
constexpr std::int64_t kLeastBlocksize = 32;

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

const FourBitDotPath& path_for(Isa isa) {
  return isa >= Isa::kAvx512 ? avx512::kFourBitDot : avx2::kFourBitDot;
}

// Scratch of a thread: the absmax of a group of rows.
std::int64_t absmax_floats(std::int64_t k) {
  return kRowGroup * round_up(k / kLeastBlocksize, 16);
}

FourBitDotJob job_of(const LinearTask& task, std::int64_t rows) {
  return {.parts = four_bit_parts(*task.weight),
          .k = task.weight->shape[1],
          .rows = rows,
          .bias = task.bias.empty() ? nullptr : task.bias.data(),
          .y = task.y.data(),
          .ldy = task.weight->shape[0],
          .accumulate = task.accumulate};
}

}  // namespace

bool takes_four_bit_dot(const WeightView& weight, Isa isa) {
  const std::int64_t k = weight.shape[1];
  return weight.form.is_four_bit() && isa >= Isa::kAvx2 && k > 0 && k % kStep == 0 &&
         k % weight.form.blocksize == 0;
}

void linear_four_bit_dot(std::span<const LinearTask> tasks, std::span<const float> x,
                         std::int64_t rows, ExecContext& ctx) {
  const std::int64_t k = tasks.front().weight->shape[1];
  const FourBitDotPath& path = path_for(ctx.isa);
  const std::int64_t padded = round_up(k, path.chunk);
  const std::size_t mark = ctx.workspace.mark();
  float* const permuted = ctx.workspace.take<float>(static_cast<std::size_t>(rows * padded)).data();
  float* const absmax =
      ctx.workspace.take<float>(static_cast<std::size_t>(absmax_floats(k) * ctx.pool.threads()))
          .data();
  for (std::int64_t m = 0; m < rows; ++m) {
    path.permute(x.data() + m * k, k, permuted + m * padded);
  }
  std::array<FourBitDotJob, kMostLinearTasks> jobs;
  for (std::size_t i = 0; i < tasks.size(); ++i) jobs[i] = job_of(tasks[i], rows);
  const RowPieces pieces(tasks, ctx.pool.threads());
  pieces.run(ctx.pool, [&](std::size_t task, std::int64_t begin, std::int64_t end, int thread) {
    path.dot(jobs[task], permuted, begin, end, absmax + thread * absmax_floats(k));
  });
  ctx.workspace.release(mark);
}

std::size_t linear_four_bit_dot_workspace_bytes(std::int64_t k, int threads) {
  const std::int64_t floats =
      kMostFourBitDotRows * round_up(k, kWidestChunk) + absmax_floats(round_up(k, kStep)) * threads;
  return static_cast<std::size_t>(floats) * sizeof(float);
}

}  // namespace shoehorn
