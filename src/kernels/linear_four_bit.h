// linear() for NF4 and FP4 weights with floating activations and few rows of x: dot products from
// the packed bytes, no decoded row in memory. Internal: linear.cc calls it.
//
//   y[m, n] = sum_k x[m, k] · quant_map[code[n, k]] · absmax[n, k / blocksize] + bias[n]
//
// The products of a run of values that share an absmax are summed first and scaled then, all in
// float32: at least as close to the sum of real numbers as multiplying fl(code · absmax) is, and
// closer than bitsandbytes, which rounds code · absmax to the compute dtype.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "kernels/linear.h"

namespace shoehorn {

/// Rows of x that a few rows are at most: the workspace is counted for them.
inline constexpr std::int64_t kMostFourBitDotRows = 8;

/// True if there is such a kernel for a four-bit weight: K is a multiple of 64 and of the
/// blocksize, so that every row begins a block, and the instruction set has one.
bool takes_four_bit_dot(const WeightView& weight, Isa isa);

/// All weights satisfy takes_four_bit_dot() and have one K; sizes are checked; rows <=
/// kMostFourBitDotRows. x is already rounded to the compute dtype.
void linear_four_bit_dot(std::span<const LinearTask> tasks, std::span<const float> x,
                         std::int64_t rows, ExecContext& ctx);

std::size_t linear_four_bit_dot_workspace_bytes(std::int64_t k, int threads);

}  // namespace shoehorn
