// The truth of linear_int8: bitsandbytes' int8_vectorwise_quant, int8_scaled_mm and the product of
// outlier columns, as plain loops over one row of x at a time.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/linear_int8_paths.h"
#include "kernels/ranges.h"
#include "tensor/half.h"

namespace shoehorn::ref {
namespace {

float rounded_to_f16(float value) {
  return f16_to_f32(f32_to_f16(value));
}

bool is_outlier(float value, float threshold) {
  return threshold > 0 && std::fabs(rounded_to_f16(value)) >= threshold;
}

// A NaN stays, as in torch.max.
float row_stat(const float* x, std::int64_t k, float threshold) {
  float stat = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    const float value = rounded_to_f16(x[i]);
    if (std::isnan(value)) return value;
    if (!is_outlier(x[i], threshold)) stat = std::max(stat, std::fabs(value));
  }
  return stat;
}

// Ties to even; NaN, of a row of zeros, infinities or NaN, becomes 0.
std::int8_t code(float value, float scale) {
  const float scaled = rounded_to_f16(value) * scale;
  return std::isnan(scaled) ? std::int8_t{0} : static_cast<std::int8_t>(std::nearbyint(scaled));
}

float scb_at(const Int8Parts& parts, std::int64_t n) {
  float scb;  // a weight may have any alignment
  std::memcpy(&scb, reinterpret_cast<const std::byte*>(parts.scb) + 4 * n, sizeof(scb));
  return scb;
}

// One row of x: its codes, zero in outlier columns, and its stat.
struct Row {
  const float* x;
  std::span<const std::int8_t> codes;
  std::span<const std::uint8_t> is_column;
  bool any_column;
  float stat;
};

float output(const Row& row, const Int8Parts& parts, std::int64_t n, const Int8Output& out) {
  const std::int8_t* const cb = parts.cb + n * parts.k;
  const float scb = scb_at(parts, n);
  std::int64_t sum = 0;
  double outliers = 0;
  for (std::int64_t i = 0; i < parts.k; ++i) {
    const auto at = static_cast<std::size_t>(i);
    sum += std::int64_t{row.codes[at]} * cb[i];
    if (row.is_column[at] != 0) {
      const float weight = static_cast<float>(cb[i]) * scb * kInt8Inverse127;
      outliers += static_cast<double>(row.x[i]) * weight;
    }
  }
  float value = static_cast<float>(sum) * (row.stat * scb) * out.constant;
  if (out.bias != nullptr) value += out.bias[n];
  return row.any_column ? value + static_cast<float>(outliers) : value;
}

}  // namespace

void linear_int8(const LinearTask& task, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx) {
  const Int8Parts parts = int8_parts(*task.weight);
  const Int8Output out = int8_output(task);
  const float threshold = task.weight->compute.llm_int8_threshold;
  const auto k = static_cast<std::size_t>(parts.k);
  const std::size_t mark = ctx.workspace.mark();
  const auto is_column = ctx.workspace.take<std::uint8_t>(k);
  const auto codes = ctx.workspace.take<std::int8_t>(k);
  std::ranges::fill(is_column, std::uint8_t{0});
  bool any_column = false;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!is_outlier(x[i], threshold)) continue;
    is_column[i % k] = 1;
    any_column = true;
  }
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* const values = x.data() + m * parts.k;
    const float stat = row_stat(values, parts.k, threshold);
    const float reciprocal = 1.0F / stat;
    const float scale = reciprocal * 127.0F;
    for (std::size_t i = 0; i < k; ++i) {
      codes[i] = is_column[i] != 0 ? std::int8_t{0} : code(values[i], scale);
    }
    const Row row{.x = values,
                  .codes = codes,
                  .is_column = is_column,
                  .any_column = any_column,
                  .stat = stat};
    for_ranges(ctx.pool, parts.n, 65536 / (parts.k + 1) + 1,
               [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
                 for (std::int64_t n = begin; n < end; ++n) {
                   float& y = out.y[m * out.ldy + n];
                   const float value = output(row, parts, n, out);
                   y = out.accumulate ? y + value : value;
                 }
               });
  }
  ctx.workspace.release(mark);
}

}  // namespace shoehorn::ref
