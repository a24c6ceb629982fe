#include "kernels/rope.h"

#include <cstddef>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/ranges.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {
namespace {

void require_sizes(std::span<const float> x, const RotaryShape& shape, std::span<const float> cos,
                   std::span<const float> sin) {
  const auto size = static_cast<std::int64_t>(x.size());
  const auto angles = static_cast<std::int64_t>(cos.size());
  const bool sane = shape.rows >= 0 && shape.heads >= 0 && shape.head_dim >= 0 &&
                    shape.rotary_dim >= 0 && shape.rotary_dim % 2 == 0 &&
                    shape.rotary_dim <= shape.head_dim;
  if (!sane || size != shape.rows * shape.heads * shape.head_dim ||
      angles != shape.rows * (shape.rotary_dim / 2) || sin.size() != cos.size()) {
    throw ArgumentError(str_cat("apply_rotary: x of ", x.size(), ", cos of ", cos.size(),
                                " and sin of ", sin.size(), " values for ", shape.rows, " rows, ",
                                shape.heads, " heads of ", shape.head_dim, ", rotary_dim ",
                                shape.rotary_dim));
  }
}

// Plain loops: the rotation is a thousandth of a layer's work, and SSE2 serves it. The products are
// rounded before the sum, as torch does (-ffp-contract=off).
void rotate_halves(float* x, std::int64_t n, const float* cos, const float* sin) {
  float* const first = x;
  float* const second = x + n;
  for (std::int64_t i = 0; i < n; ++i) {
    const float a = first[i];
    const float b = second[i];
    first[i] = a * cos[i] - b * sin[i];
    second[i] = b * cos[i] + a * sin[i];
  }
}

void rotate_pairs(float* x, std::int64_t n, const float* cos, const float* sin) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

template <typename Rotate>
void rotate_rows(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                 std::span<const float> sin, ExecContext& ctx, const Rotate& rotate) {
  const std::int64_t n = shape.rotary_dim / 2;
  const std::int64_t row_size = shape.heads * shape.head_dim;
  const std::int64_t grain = 16384 / (row_size + 1);  // about 10 us
  for_ranges(ctx.pool, shape.rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t head = 0; head < shape.heads; ++head) {
        rotate(x.data() + row * row_size + head * shape.head_dim, n, cos.data() + row * n,
               sin.data() + row * n);
      }
    }
  });
}

}  // namespace

void apply_rotary_halves(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                         std::span<const float> sin, ExecContext& ctx) {
  require_sizes(x, shape, cos, sin);
  if (ctx.queue != nullptr) return cuda::apply_rotary_halves(x, shape, cos, sin, ctx);
  rotate_rows(x, shape, cos, sin, ctx, rotate_halves);
}

void apply_rotary_pairs(std::span<float> x, const RotaryShape& shape, std::span<const float> cos,
                        std::span<const float> sin, ExecContext& ctx) {
  require_sizes(x, shape, cos, sin);
  if (ctx.queue != nullptr) return cuda::apply_rotary_pairs(x, shape, cos, sin, ctx);
  rotate_rows(x, shape, cos, sin, ctx, rotate_pairs);
}

}  // namespace shoehorn
