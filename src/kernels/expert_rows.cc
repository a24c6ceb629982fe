#include "kernels/expert_rows.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/ranges.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {
namespace {

// Rows whose copies take about ten microseconds.
std::int64_t row_grain(std::size_t width) {
  return 16384 / (static_cast<std::int64_t>(width) + 1);
}

}  // namespace

void gather_rows(std::span<const float> x, std::span<const std::int32_t> rows, std::span<float> out,
                 ExecContext& ctx) {
  if (rows.empty()) return;
  const std::size_t width = out.size() / rows.size();
  if (width * rows.size() != out.size() || width == 0 || x.size() % width != 0) {
    throw ArgumentError(str_cat("gather_rows: ", rows.size(), " rows of x of ", x.size(),
                                " values do not make ", out.size()));
  }
  if (ctx.queue != nullptr) {
    return cuda::gather_rows(x.data(), static_cast<std::int64_t>(width), rows.data(),
                             static_cast<std::int64_t>(rows.size()), out.data(), ctx);
  }
  const auto count = static_cast<std::int64_t>(rows.size());
  for_ranges(ctx.pool, count, row_grain(width), [&](std::int64_t begin, std::int64_t end, int) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      std::copy_n(x.data() + static_cast<std::size_t>(rows[i]) * width, width,
                  out.data() + i * width);
    }
  });
}

void add_weighted_rows(std::span<const float> y, std::span<const std::int32_t> rows,
                       std::span<const float> weights, std::span<float> sum, ExecContext& ctx) {
  if (rows.empty()) return;
  const std::size_t width = y.size() / rows.size();
  if (width * rows.size() != y.size() || weights.size() != rows.size() || width == 0 ||
      sum.size() % width != 0) {
    throw ArgumentError(str_cat("add_weighted_rows: ", rows.size(), " rows and ", weights.size(),
                                " weights of y of ", y.size(), " values, sum of ", sum.size()));
  }
  if (ctx.queue != nullptr) return cuda::add_weighted_rows(y, rows, weights, sum, ctx);
  const auto count = static_cast<std::int64_t>(rows.size());
  for_ranges(ctx.pool, count, row_grain(width), [&](std::int64_t begin, std::int64_t end, int) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const float weight = weights[i];
      const float* const from = y.data() + i * width;
      float* const to = sum.data() + static_cast<std::size_t>(rows[i]) * width;
      for (std::size_t d = 0; d < width; ++d) to[d] += weight * from[d];
    }
  });
}

void add_weighted(std::span<const float> y, std::span<const float> weights, std::span<float> sum,
                  ExecContext& ctx) {
  if (y.size() != weights.size() * sum.size()) {
    throw ArgumentError(str_cat("add_weighted: ", weights.size(), " weights of y of ", y.size(),
                                " values, sum of ", sum.size()));
  }
  if (ctx.queue != nullptr) return cuda::add_weighted(y, weights, sum, ctx);
  const auto width = static_cast<std::int64_t>(sum.size());
  for_ranges(ctx.pool, width, 8192, [&](std::int64_t begin, std::int64_t end, int) {
    float* const to = sum.data();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const float weight = weights[i];
      const float* const from = y.data() + i * sum.size();
      for (std::int64_t d = begin; d < end; ++d) to[d] += weight * from[d];
    }
  });
}

void clamp_glu(std::span<const float> both, float limit, float alpha, std::span<float> gate,
               std::span<float> up, ExecContext& ctx) {
  if (both.size() != 2 * gate.size() || gate.size() != up.size()) {
    throw ArgumentError(str_cat("clamp_glu: ", both.size(), " values do not make gate of ",
                                gate.size(), " and up of ", up.size()));
  }
  if (ctx.queue != nullptr) return cuda::clamp_glu(both, limit, alpha, gate, up, ctx);
  const auto size = static_cast<std::int64_t>(gate.size());
  for_ranges(ctx.pool, size, 8192, [&](std::int64_t begin, std::int64_t end, int) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      gate[i] = alpha * std::min(both[2 * i], limit);
      up[i] = (std::clamp(both[2 * i + 1], -limit, limit) + 1) / alpha;
    }
  });
}

}  // namespace shoehorn
