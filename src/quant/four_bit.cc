#include "quant/four_bit.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <limits>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "quant/absolute_maximum.h"
#include "quant/code_books.h"

namespace shoehorn {
namespace {

/// Codes of one value after the other, packed.
class Packer {
 public:
  explicit Packer(std::uint8_t* packed) : packed_(packed) {}
  void add(std::uint8_t code) {
    if (half_) {
      *packed_++ = packed_pair(earlier_, code);
    } else {
      earlier_ = code;
    }
    half_ = !half_;
  }
  bool half() const { return half_; }

 private:
  std::uint8_t* packed_;
  std::uint8_t earlier_ = 0;
  bool half_ = false;
};

// bitsandbytes/backends/cpu and default: quantize_4bit. They clamp v to [-1, 1] before they decide,
// which no midpoint can notice.
void quantize_block_cpu(const FourBitDecision& decision, std::span<const float> x, bool complete,
                        Packer& packer, float& absmax) {
  absmax = absolute_maximum(x);
  const float divisor = absmax < kLeastAbsmax ? kLeastAbsmax : absmax;  // NaN stays
  if (complete) {
    const float reciprocal = 1.0F / divisor;
    for (const float value : x) packer.add(four_bit_code_of(decision, value * reciprocal));
  } else {
    absmax = divisor;
    for (const float value : x) packer.add(four_bit_code_of(decision, value / divisor));
  }
}

float flushed(float value) {
  return std::fabs(value) < std::numeric_limits<float>::min() ? 0.0F : value;
}

/// csrc/kernels.cu: dQuantizeFP4. Codes of ascending magnitudes, and the literals between them.
std::uint8_t fp4_code_cuda(float value) {
  constexpr std::array<float, 7> kBounds = {0.00260417F, 0.0859375F, 0.20833333F, 0.29166667F,
                                            0.4166667F,  0.583333F,  0.8333333F};
  constexpr std::array<std::uint8_t, 8> kCodes = {0, 1, 6, 7, 4, 5, 2, 3};
  std::size_t below = 0;
  for (const float bound : kBounds) below += std::fabs(value) > bound ? 1U : 0U;
  const unsigned sign = value < 0.0F ? 8U : 0U;
  return static_cast<std::uint8_t>(kCodes[below] | sign);
}

/// dQuantizeNF4; NaN is above no midpoint.
std::uint8_t nf4_code_cuda(float value) {
  std::uint8_t below = 0;
  for (const float midpoint : four_bit_decision(QuantType::kNF4).midpoints) {
    below += value > midpoint ? 1U : 0U;
  }
  return below;
}

void quantize_block_cuda(QuantType type, std::span<const float> x, Packer& packer, float& absmax) {
  absmax = absolute_maximum(x);
  const float reciprocal = 1.0F / flushed(absmax);
  for (const float value : x) {
    const float scaled = flushed(flushed(value) * reciprocal);
    packer.add(type == QuantType::kNF4 ? nf4_code_cuda(scaled) : fp4_code_cuda(scaled));
  }
}

void check(QuantType type, std::int64_t blocksize, std::size_t values, std::size_t packed,
           std::size_t absmax) {
  if (type != QuantType::kNF4 && type != QuantType::kFP4) {
    throw ArgumentError(str_cat(to_string(type), " is not a four-bit type; nf4 and fp4 are"));
  }
  if (!is_four_bit_blocksize(blocksize)) {
    throw ArgumentError(str_cat("blocksize: expected 32, 64, ... 4096, found ", blocksize));
  }
  const auto block = static_cast<std::size_t>(blocksize);
  const std::size_t blocks = values / block + (values % block != 0 ? 1 : 0);
  if (packed != values / 2 + values % 2 || absmax != blocks) {
    throw ArgumentError(str_cat(values, " values in blocks of ", blocksize, " do not make ", packed,
                                " packed bytes with ", absmax, " absmax"));
  }
}

}  // namespace

void quantize_four_bit(QuantType type, std::int64_t blocksize, BnbParity parity,
                       std::span<const float> x, std::span<std::uint8_t> packed,
                       std::span<float> absmax) {
  check(type, blocksize, x.size(), packed.size(), absmax.size());
  const FourBitDecision& decision = four_bit_decision(type);
  const auto block = static_cast<std::size_t>(blocksize);
  Packer packer(packed.data());
  for (std::size_t b = 0; b < absmax.size(); ++b) {
    const std::span<const float> values =
        x.subspan(b * block, std::min(block, x.size() - b * block));
    if (parity == BnbParity::kCuda) {
      quantize_block_cuda(type, values, packer, absmax[b]);
    } else {
      quantize_block_cpu(decision, values, values.size() == block, packer, absmax[b]);
    }
  }
  if (packer.half()) packer.add(four_bit_code_of(decision, 0.0F));
}

void dequantize_four_bit(const FourBitParts& parts, std::int64_t first, std::int64_t count,
                         float* out) {
  assert(first >= 0 && count >= 0 && first <= parts.elements - count);
  const std::int64_t end = first + count;
  for (std::int64_t i = first; i < end;) {
    const std::int64_t block = i / parts.blocksize;
    const std::int64_t block_end = std::min(end, (block + 1) * parts.blocksize);
    const float absmax = parts.absmax_of(block);
    for (; i < block_end; ++i) *out++ = parts.quant_map[packed_code(parts.packed, i)] * absmax;
  }
}

}  // namespace shoehorn
