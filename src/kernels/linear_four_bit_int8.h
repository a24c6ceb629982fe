// linear() for four-bit weights with activations in int8 (ComputeDtype::kInt8): rows of x are
// quantized on the fly, block by block as the weights are, and the code book is rounded to int8.
// Internal: linear.cc calls it.
//
// For each run b of 64 values along K, with a[m, b] = max |x[m, k]| in it:
//
//   q[m, k] = round(x[m, k] · fl(127 / a[m, b])), ties to even
//   c[i]    = round(quant_map[i] · f), f = 124.115 for NF4 and 120 for FP4
//   y[m, n] = sum_b (sum_k q[m, k] · c[code[n, k]]) · absmax[n, block of b] · fl(a[m, b] / 127) / f
//             + bias[n]
//
// The inner sums are exact; all else is float32, so that instruction sets agree but for the order
// of a float32 sum. A large activation costs precision in its own run of 64 alone. Runs whose
// maximum is below 1e-36 count as zero; a NaN or infinity in a row of x makes all of its outputs
// NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "kernels/linear.h"

namespace shoehorn {

/// True if a weight asks for int8 activations and its shape and blocks allow it, K and the
/// blocksize being multiples of 64 and K one of the blocksize, and if its quant_map lies within
/// -1 .. 1; where they do not, it is multiplied in float32.
bool takes_int8_rows(const WeightView& weight);

/// All weights satisfy takes_int8_rows() and have one K; sizes are checked.
void linear_four_bit_int8(std::span<const LinearTask> tasks, std::span<const float> x,
                          std::int64_t rows, ExecContext& ctx);

std::size_t linear_four_bit_int8_workspace_bytes(std::int64_t rows, std::int64_t k, int threads);

}  // namespace shoehorn
