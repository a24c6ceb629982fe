// linear() on a CUDA device. Internal: linear.cc calls it. A few rows of x are products straight
// from the stored bytes, bound by the card's memory; many rows are cuBLASLt's tensor-core products,
// of weights that were decoded to bfloat16 first where they are in 4 bits or in blocks.
//
//   F32            float32 throughout, no TF32
//   BF16, F16      few rows: x stays float32; many: x is rounded to the weight's dtype, as
//                  transformers has it; sums are float32
//   int8           linear_int8.h, any number of rows: codes, outlier columns and constant as there
//   NF4, FP4       few rows: float32 and the exact code book; with a bfloat16 or float16 compute
//                  dtype x is rounded to it and the code book to float16
//                  (linear_four_bit_tiles_cuda.cu); or x in int8 as linear_four_bit_int8.h has it.
//                  Many rows: both rounded to bfloat16 (float16 where that is the compute dtype)
//   others         few rows: decoded to float32, then as F32; many: decoded to the compute dtype,
//                  then as that
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/activation.h"
#include "kernels/exec_context.h"
#include "kernels/linear.h"

namespace shoehorn::cuda {

/// As shoehorn::linear_many() on ctx.queue; sizes are checked. What is submitted does not depend on
/// values, so that it can be recorded in a graph. Throws DeviceError.
void linear_many(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx);

/// As shoehorn::linear_gated(), in one launch where a kernel takes both weights.
void linear_gated(Activation activation, const LinearTask& gate, const LinearTask& up,
                  std::span<const float> x, std::int64_t rows, ExecContext& ctx);

/// Workspace of the card that they take at most, for weights of up to `k` columns and `n` rows.
std::size_t linear_workspace_bytes(std::int64_t rows, std::int64_t k, std::int64_t n);

}  // namespace shoehorn::cuda
