#include "quant/int8_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

#include "shoehorn/error.h"

#include "base/checked.h"
#include "base/str_cat.h"
#include "quant/absolute_maximum.h"
#include "tensor/half.h"

namespace shoehorn {
namespace {

float through_f16(float value) {
  return f16_to_f32(f32_to_f16(value));
}

/// max |x| of values that are no outliers.
float row_stat(std::span<const float> row, float threshold) {
  std::uint32_t most = 0;
  for (const float value : row) {
    const float magnitude = std::fabs(through_f16(value));
    if (threshold > 0 && magnitude >= threshold) continue;
    most = std::max(most, std::bit_cast<std::uint32_t>(magnitude));
  }
  // Conversions keep different payloads of a NaN; one stands for all.
  if (most > kInfinityBits) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(most);
}

void quantize_row(std::span<const float> row, float stat, std::int8_t* q) {
  // Two roundings, as torch divides a number by a tensor: 127 / stat gives other codes.
  const float scale = (1.0F / stat) * 127.0F;
  for (const float value : row) {
    const float scaled = through_f16(value) * scale;
    // Outliers may be far out of range here; their column is cleared afterwards.
    const float bounded = std::clamp(scaled, -127.0F, 127.0F);
    *q++ = std::isnan(scaled) ? std::int8_t{0} : static_cast<std::int8_t>(std::nearbyint(bounded));
  }
}

void find_outlier_columns(std::span<const float> x, std::size_t k, float threshold,
                          std::vector<std::int64_t>& columns) {
  std::vector<bool> has_outlier(k);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::fabs(through_f16(x[i])) >= threshold) has_outlier[i % k] = true;
  }
  for (std::size_t j = 0; j < k; ++j) {
    if (has_outlier[j]) columns.push_back(static_cast<std::int64_t>(j));
  }
}

void check(std::size_t values, std::int64_t rows, std::int64_t k, std::size_t q,
           std::size_t stats) {
  const auto elements = rows < 0 || k < 0 ? std::nullopt : checked_mul(rows, k);
  if (!elements || static_cast<std::uint64_t>(*elements) != values || q != values ||
      stats != static_cast<std::size_t>(rows)) {
    throw ArgumentError(str_cat(values, " values, ", q, " codes and ", stats, " stats are not ",
                                rows, " rows of ", k));
  }
}

}  // namespace

void quantize_int8_rows(std::span<const float> x, std::int64_t rows, std::int64_t k,
                        float threshold, std::span<std::int8_t> q, std::span<float> stats,
                        std::vector<std::int64_t>* outlier_columns) {
  check(x.size(), rows, k, q.size(), stats.size());
  if (!(threshold >= 0)) {
    throw ArgumentError(str_cat("threshold: expected 0 or more, found ", threshold));
  }
  if (threshold > 0 && outlier_columns == nullptr) {
    throw ArgumentError("outlier_columns: a threshold needs a list to put them in");
  }
  const auto width = static_cast<std::size_t>(k);
  for (std::size_t r = 0; r < stats.size(); ++r) {
    const std::span<const float> row = x.subspan(r * width, width);
    stats[r] = row_stat(row, threshold);
    quantize_row(row, stats[r], q.data() + r * width);
  }
  if (outlier_columns == nullptr) return;
  outlier_columns->clear();
  if (threshold == 0) return;
  find_outlier_columns(x, width, threshold, *outlier_columns);
  for (std::size_t r = 0; r < stats.size(); ++r) {
    for (const std::int64_t j : *outlier_columns) q[r * width + static_cast<std::size_t>(j)] = 0;
  }
}

void dequantize_int8_rows(std::span<const std::int8_t> q, std::span<const float> stats,
                          std::int64_t rows, std::int64_t k, float* out) {
  check(q.size(), rows, k, q.size(), stats.size());
  const auto width = static_cast<std::size_t>(k);
  for (std::size_t i = 0; i < q.size(); ++i) {
    out[i] = static_cast<float>(q[i]) * stats[i / width] * kOneOver127;
  }
}

}  // namespace shoehorn
