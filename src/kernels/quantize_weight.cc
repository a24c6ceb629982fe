#include "kernels/quantize_weight.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/quantize_weight_paths.h"
#include "quant/four_bit.h"
#include "quant/int8_rows.h"

namespace shoehorn {
namespace {

bool all_finite(std::span<const float> scales) {
  return std::all_of(scales.begin(), scales.end(),
                     [](float scale) { return std::isfinite(scale); });
}

QuantizeInt8Row int8_path(Isa isa) {
  if (isa >= Isa::kAvx512) return avx512::quantize_int8_row;
  return isa == Isa::kAvx2 ? avx2::quantize_int8_row : nullptr;
}

QuantizeFourBitGroups four_bit_path(Isa isa) {
  if (isa >= Isa::kAvx512) return avx512::quantize_four_bit_groups;
  return isa == Isa::kAvx2 ? avx2::quantize_four_bit_groups : nullptr;
}

}  // namespace

bool quantize_int8_weight(const float* x, std::int64_t rows, std::int64_t k, std::int8_t* cb,
                          float* scb, Isa isa) {
  assert(rows >= 0 && k >= 0);
  const std::span<float> stats(scb, static_cast<std::size_t>(rows));
  const QuantizeInt8Row path = int8_path(isa);
  if (path == nullptr) {
    const auto values = static_cast<std::size_t>(rows * k);
    quantize_int8_rows({x, values}, rows, k, 0.0F, {cb, values}, stats, nullptr);
    return all_finite(stats);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const float stat = path(x + r * k, k, cb + r * k);
    scb[r] = std::isnan(stat) ? std::numeric_limits<float>::quiet_NaN() : stat;
  }
  return all_finite(stats);
}

bool quantize_four_bit_weight(QuantType type, std::int64_t blocksize, const float* x,
                              std::int64_t n, std::uint8_t* packed, float* absmax, Isa isa) {
  assert(n >= 0);
  const FourBitDecision& decision = four_bit_decision(type);
  if (!is_four_bit_blocksize(blocksize)) {
    throw ArgumentError(str_cat("blocksize: expected 32, 64, ... 4096, found ", blocksize));
  }
  const QuantizeFourBitGroups path = four_bit_path(isa);
  const std::int64_t group = std::max(blocksize, kFourBitGroup);
  const std::int64_t groups = path == nullptr ? 0 : n / group;
  if (groups > 0) path(decision, blocksize, x, groups, packed, absmax);

  const std::int64_t done = groups * group;
  const auto rest = static_cast<std::size_t>(n - done);
  const std::int64_t blocks = (n + blocksize - 1) / blocksize;
  const auto rest_blocks = static_cast<std::size_t>(blocks - done / blocksize);
  quantize_four_bit(type, blocksize, BnbParity::kCpu, {x + done, rest},
                    {packed + done / 2, (rest + 1) / 2}, {absmax + done / blocksize, rest_blocks});
  return all_finite({absmax, static_cast<std::size_t>(blocks)});
}

}  // namespace shoehorn
