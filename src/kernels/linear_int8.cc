#include "kernels/linear_int8.h"

#include "kernels/decode_weight.h"

namespace shoehorn {

void linear_int8(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx) {
  const std::int64_t k = static_cast<std::int64_t>(x.size()) / rows;
  const std::size_t mark = ctx.workspace.mark();
  const auto values = ctx.workspace.take<float>(static_cast<std::size_t>(k));
  for (const LinearTask& task : tasks) {
    const std::int64_t outputs = task.weight->shape[0];
    for (std::int64_t n = 0; n < outputs; ++n) {
      decode_columns(*task.weight, n, 0, k, values.data(), ctx.isa);
      for (std::int64_t m = 0; m < rows; ++m) {
        double sum = task.bias.empty() ? 0.0 : task.bias[static_cast<std::size_t>(n)];
        for (std::int64_t i = 0; i < k; ++i) {
          sum += static_cast<double>(values[static_cast<std::size_t>(i)]) *
                 x[static_cast<std::size_t>(m * k + i)];
        }
        float& y = task.y[static_cast<std::size_t>(m * outputs + n)];
        y = static_cast<float>(task.accumulate ? y + sum : sum);
      }
    }
  }
  ctx.workspace.release(mark);
}

std::size_t linear_int8_workspace_bytes(std::int64_t /*rows*/, std::int64_t k, int /*threads*/) {
  return static_cast<std::size_t>(k) * sizeof(float) + 64;
}

}  // namespace shoehorn
