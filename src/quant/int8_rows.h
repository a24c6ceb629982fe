// LLM.int8() (arXiv:2208.07339): rows in eight bits with one scale a row, for weights and for
// activations, whose outliers stay out of it. bitsandbytes' int8_vectorwise_quant and
// int8_vectorwise_dequant as its CPU backend computes them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace shoehorn {

/// 1 / 127 as bitsandbytes multiplies by it.
inline constexpr float kOneOver127 = 0.007874015718698502F;

/// Quantizes the rows of x [rows, k], rounded to float16 first (to nearest even; too large becomes
/// infinite), as bitsandbytes takes nothing else.
///
///   stats[r] = max |x[r, j]|, outliers left out; float32 [rows]; NaN where a value is NaN
///   q[r, j]  = int8 of fl(x[r, j] · fl(fl(1 / stats[r]) · 127)), to nearest even; [rows, k]; 0
///   where
///              that is NaN (rows of zeros, values that are NaN or infinite)
///
/// With threshold > 0 values of |x| >= threshold are outliers: columns with one are zero in q, in
/// every row, and listed in `outlier_columns` in ascending order. With threshold 0 there are none,
/// and outlier_columns, which may be null then, becomes empty. Throws ArgumentError for lengths
/// that do not fit, a negative or NaN threshold, or no list of columns where one is needed.
void quantize_int8_rows(std::span<const float> x, std::int64_t rows, std::int64_t k,
                        float threshold, std::span<std::int8_t> q, std::span<float> stats,
                        std::vector<std::int64_t>* outlier_columns);

/// out[r, j] = fl(fl(q[r, j] · stats[r]) · fl(1 / 127)). Throws ArgumentError for lengths that do
/// not fit.
void dequantize_int8_rows(std::span<const std::int8_t> q, std::span<const float> stats,
                          std::int64_t rows, std::int64_t k, float* out);

}  // namespace shoehorn
