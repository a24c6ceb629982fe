// y = x · Wᵀ + b, as torch.nn.Linear has it, with W in whatever form the checkpoint stores. A few
// rows of x are dot products straight from the stored bytes (bound by memory); many rows are a
// blocked matrix product over widened tiles (bound by arithmetic). Several weights of one x share a
// loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/activation.h"
#include "kernels/exec_context.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// One weight of a linear_many.
struct LinearTask {
  const WeightView* weight = nullptr;  // [N, K], any form
  std::span<const float> bias;         // [N], or empty
  std::span<float> y;                  // [rows, N]
  bool accumulate = false;             // y += instead of y =
};

/// y[m, n] = sum_k x[m, k] · W[n, k] + bias[n]
///
///   weight [N, K]     as stored: F32, F16, BF16, F64, the 8-bit floats, GGUF blocks, at any
///                     alignment; int8 and four bits as bitsandbytes has them, computed with what
///                     WeightView::compute says (linear_int8.h, linear_four_bit.h,
///                     linear_four_bit_bf16.h, linear_four_bit_int8.h)
///   bias   [N]        float32, or empty
///   x      [rows, K]  float32
///   y      [rows, N]  float32, not overlapping x
///
/// Sums are float32 in an order that depends on the weight's dtype, its shape, `rows` and the
/// instruction set, never on threads, alignment or place: results are the same bits wherever the
/// weight lives. A row's result differs by rounding only between different `rows`. Takes
/// linear_workspace_bytes() of the workspace and gives them back. Throws ArgumentError if sizes
/// disagree, UnsupportedError for a dtype that is not a number, DeviceError if the workspace is
/// too small.
void linear(const WeightView& weight, std::span<const float> bias, std::span<const float> x,
            std::int64_t rows, std::span<float> y, ExecContext& ctx);

/// The same for several weights of one K with the same x (q, k and v; gate and up) in one parallel
/// loop. The result of each is what linear() would give; no y may overlap another or x.
void linear_many(std::span<const LinearTask> tasks, std::span<const float> x, std::int64_t rows,
                 ExecContext& ctx);

/// Rows of x and the weights that they meet.
struct LinearGroup {
  std::span<const LinearTask> tasks;
  std::span<const float> x;  // [rows, K]
  std::int64_t rows = 0;
};

/// linear_many() of every group to the bit, floating weights of different groups in one parallel
/// loop: the experts of a mixture, each of which has few rows. Takes linear_workspace_bytes() of
/// the rows of all groups together. No y may overlap any x. Throws as linear() does, before
/// anything is written where it is an ArgumentError.
void linear_groups(std::span<const LinearGroup> groups, ExecContext& ctx);

/// gate.y = activation(gate) · up, to the bit what linear_many() and gate_mul() give for two
/// weights of one shape. What up.y holds afterwards is not said; neither accumulates. Throws as
/// they do.
void linear_gated(Activation activation, const LinearTask& gate, const LinearTask& up,
                  std::span<const float> x, std::int64_t rows, ExecContext& ctx);

/// Workspace that these take at most for up to `rows` rows of up to `k` values.
std::size_t linear_workspace_bytes(std::int64_t rows, std::int64_t k, int threads);

}  // namespace shoehorn
