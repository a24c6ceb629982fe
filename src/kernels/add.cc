#include "kernels/add.h"

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/ranges.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {

void add(std::span<float> x, std::span<const float> y, ExecContext& ctx) {
  if (x.size() != y.size()) {
    throw ArgumentError(str_cat("add: x of ", x.size(), " and y of ", y.size(), " values"));
  }
  if (ctx.queue != nullptr) return cuda::add(x, y, ctx);
  // Plain: the compiler's SSE2 loop already waits for memory, so no file an instruction set.
  const auto size = static_cast<std::int64_t>(x.size());
  for_ranges(ctx.pool, size, 32768, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    float* const to = x.data();
    const float* const from = y.data();
    for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
  });
}

}  // namespace shoehorn
