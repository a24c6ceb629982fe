// The operations of a pass on a CUDA device that move rows or work element by element. Internal:
// the front doors of the same names call them; contracts are theirs. Pointers and spans are
// addresses of the card of ctx.queue; sizes are checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/activation.h"
#include "kernels/copy_runs.h"
#include "kernels/exec_context.h"
#include "kernels/rope.h"
#include "tensor/dtype.h"

namespace shoehorn::cuda {

void rms_norm(std::span<const float> x, std::span<const float> weight, float weight_offset,
              float eps, std::int64_t rows, std::span<float> y, ExecContext& ctx);
void layer_norm(std::span<const float> x, std::span<const float> weight,
                std::span<const float> bias, float eps, std::int64_t rows, std::int64_t width,
                std::span<float> y, ExecContext& ctx);
void activate(Activation activation, std::span<const float> x, std::span<float> out,
              ExecContext& ctx);
void gate_mul(Activation activation, std::span<const float> gate, std::span<const float> up,
              std::span<float> out, ExecContext& ctx);
void add(std::span<float> x, std::span<const float> y, ExecContext& ctx);
void scale(std::span<float> x, float factor, ExecContext& ctx);
void add_scaled(std::span<float> x, std::span<const float> y, float factor, ExecContext& ctx);
void soft_cap(std::span<float> x, float cap, ExecContext& ctx);
void copy_values(std::span<const float> from, std::span<float> to, ExecContext& ctx);
void stack_rows(std::span<const float* const> rows, std::int64_t width, std::span<float> to,
                ExecContext& ctx);
void apply_rotary_halves(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                         std::span<const float> sin, ExecContext& ctx);
void apply_rotary_pairs(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                        std::span<const float> sin, ExecContext& ctx);

/// shoehorn::split_columns() of `runs` runs, rows times groups.
void split_columns(std::span<const float> x, std::int64_t runs,
                   std::span<const std::span<float>> parts, ExecContext& ctx);

/// out[i, :] = row ids[i] of a table of rows of `width` values, as decode_row() gives them.
///   table [.., width]  any dtype that decode_row() takes
///   ids   [count]      on the card, in range
///   out   [count, width]
void fetch_rows(DType dtype, const std::byte* table, std::int64_t width, const std::int32_t* ids,
                std::int64_t count, float* out, ExecContext& ctx);

/// out[i, :] = x[rows[i], :], both of `width` values.
void gather_rows(const float* x, std::int64_t width, const std::int32_t* rows, std::int64_t count,
                 float* out, ExecContext& ctx);

void add_weighted_rows(std::span<const float> y, std::span<const std::int32_t> rows,
                       std::span<const float> weights, std::span<float> sum, ExecContext& ctx);
void add_weighted(std::span<const float> y, std::span<const float> weights, std::span<float> sum,
                  ExecContext& ctx);
void clamp_glu(std::span<const float> both, float limit, float alpha, std::span<float> gate,
               std::span<float> up, ExecContext& ctx);
void copy_runs(std::span<const float> from, Runs source, std::span<float> to, Runs target,
               std::int64_t count, std::int64_t share, ExecContext& ctx);

/// ids[i] = the first position of the largest value of row i, as greedy_token() has it: NaN is
/// never chosen; -1 where a row holds no number. Takes argmax_workspace_bytes() and gives them
/// back.
///   x [rows, width], ids [rows]
void argmax(const float* x, std::int64_t rows, std::int64_t width, std::int32_t* ids,
            ExecContext& ctx);

/// Workspace of the card that argmax() takes at most.
std::size_t argmax_workspace_bytes(std::int64_t rows);

/// Values as they are after rounding to `dtype` (F16 or BF16) and back.
void round_values(DType dtype, std::span<float> x, ExecContext& ctx);

}  // namespace shoehorn::cuda
