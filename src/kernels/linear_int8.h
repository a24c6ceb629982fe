// linear() for LLM.int8() weights (arXiv:2208.07339; bitsandbytes' Linear8bitLt in eval mode): rows
// of x are quantized on the fly, all but their outliers, which are multiplied as floats. Internal:
// linear.cc calls it.
//
//   h[m, k]    = float16(x[m, k])
//   C          = the columns k with |h[m, k]| >= llm_int8_threshold in any row m of the call; none
//                where the threshold is 0
//   stats[m]   = max over k of |h[m, k]| below the threshold
//   q[m, k]    = round(fl(h[m, k] · fl(fl(1 / stats[m]) · 127))), ties to even; 0 in C, in a row of
//                zeros, and for NaN
//   I[m, n]    = sum over k of q[m, k] · CB[n, k], exact
//   o[m, n]    = fl(fl(float(I) · fl(stats[m] · SCB[n])) · c) + bias[n], c = 1 / 127^2, or the
//                constant of bitsandbytes' CPU code where the weight asks for it
//   y[m, n]    = o[m, n] + sum over k in C of x[m, k] · fl(fl(CB[n, k] · SCB[n]) · (1 / 127))
//
// So a row's result depends on the other rows of the call, as it does there. Infinities that
// float16 makes are outliers and do no harm; without a threshold, or with a NaN in it, a row is
// NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "kernels/linear.h"

namespace shoehorn {

/// All weights are QuantType::kInt8 of one K, of any alignment; sizes are checked. The integers are
/// the same on every instruction set, and the floats but for the order in which outliers are
/// summed; threads, pieces and place change no bit.
void linear_int8(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx);

/// Workspace that it takes at most: codes of 512 rows at a time, and half a MiB a thread.
std::size_t linear_int8_workspace_bytes(std::int64_t rows, std::int64_t k, int threads);

}  // namespace shoehorn
