#include "kernels/rms_norm.h"

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/ranges.h"
#include "kernels/rms_norm_paths.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {
namespace {

using RowPath = void (*)(const float*, const float*, float, float, std::int64_t, float*);

RowPath path_for(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
    case Isa::kAvx512: return avx512::rms_norm_row;
    case Isa::kAvx2: return avx2::rms_norm_row;
    case Isa::kRef: break;
  }
  return ref::rms_norm_row;
}

}  // namespace

void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::int64_t rows,
              std::span<float> y, ExecContext& ctx, float weight_offset) {
  const auto size = static_cast<std::int64_t>(weight.size());
  if (rows < 0 || static_cast<std::int64_t>(x.size()) != rows * size || y.size() != x.size()) {
    throw ArgumentError(str_cat("rms_norm: ", rows, " rows of ", size, " values do not match x of ",
                                x.size(), " and y of ", y.size()));
  }
  if (ctx.queue != nullptr) return cuda::rms_norm(x, weight, weight_offset, eps, rows, y, ctx);
  const RowPath path = path_for(ctx.isa);
  const std::int64_t grain = 32768 / (size + 1);  // about 10 us
  for_ranges(ctx.pool, rows, grain, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    for (std::int64_t row = begin; row < end; ++row) {
      path(x.data() + row * size, weight.data(), weight_offset, eps, size, y.data() + row * size);
    }
  });
}

}  // namespace shoehorn
