// What linear_four_bit.cc is made of, by instruction set. Internal.
#pragma once

#include <cstdint>

#include "quant/weight_form.h"

namespace shoehorn {

/// Dot products of a few rows of x with four-bit rows. K is a multiple of 64 and of the blocksize.
struct FourBitDotJob {
  FourBitParts parts;
  std::int64_t k = 0;
  std::int64_t rows = 0;        // of x
  const float* bias = nullptr;  // [N] or null
  float* y = nullptr;           // [rows, ldy]
  std::int64_t ldy = 0;
  bool accumulate = false;
};

struct FourBitDotPath {
  std::int64_t chunk;  // rows of x are padded with zeros to a multiple of it
  /// Orders a row of x, k values, as the kernel meets the packed values.
  void (*permute)(const float* x, std::int64_t k, float* out);
  /// Outputs begin <= n < end; each is summed in an order that depends on k, the blocksize and
  /// `rows` alone. x [rows, padded k], permuted. `scratch` takes the absmax of kRowGroup rows.
  void (*dot)(const FourBitDotJob& job, const float* x, std::int64_t begin, std::int64_t end,
              float* scratch);
};

namespace avx2 {
extern const FourBitDotPath kFourBitDot;
}  // namespace avx2
namespace avx512 {
extern const FourBitDotPath kFourBitDot;
}  // namespace avx512

}  // namespace shoehorn
