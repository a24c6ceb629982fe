#include "kernels/quantize_weight.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <span>

#include "quant/four_bit.h"
#include "quant/int8_rows.h"

namespace shoehorn {
namespace {

bool all_finite(std::span<const float> scales) {
  return std::all_of(scales.begin(), scales.end(),
                     [](float scale) { return std::isfinite(scale); });
}

std::span<const float> values(const float* x, std::int64_t count) {
  return {x, static_cast<std::size_t>(count)};
}

}  // namespace

bool quantize_int8_weight(const float* x, std::int64_t rows, std::int64_t k, std::int8_t* cb,
                          float* scb, Isa /*isa*/) {
  assert(rows >= 0 && k >= 0);
  const std::span<float> stats(scb, static_cast<std::size_t>(rows));
  const std::span<std::int8_t> codes(cb, static_cast<std::size_t>(rows * k));
  quantize_int8_rows(values(x, rows * k), rows, k, 0.0F, codes, stats, nullptr);
  return all_finite(stats);
}

bool quantize_four_bit_weight(QuantType type, std::int64_t blocksize, const float* x,
                              std::int64_t n, std::uint8_t* packed, float* absmax, Isa /*isa*/) {
  assert(n >= 0);
  const std::span<std::uint8_t> bytes(packed, static_cast<std::size_t>((n + 1) / 2));
  const std::span<float> scales(absmax, static_cast<std::size_t>((n + blocksize - 1) / blocksize));
  quantize_four_bit(type, blocksize, BnbParity::kCpu, values(x, n), bytes, scales);
  return all_finite(scales);
}

}  // namespace shoehorn
