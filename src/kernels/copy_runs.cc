#include "kernels/copy_runs.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/ranges.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {

void copy_runs(std::span<const float> from, Runs source, std::span<float> to, Runs target,
               std::int64_t count, std::int64_t share, ExecContext& ctx) {
  const auto holds = [&](Runs runs) {
    return runs.first >= 0 && count >= 0 && runs.width > 0 && count <= runs.width - runs.first;
  };
  const std::int64_t runs =
      target.width > 0 ? static_cast<std::int64_t>(to.size()) / target.width : 0;
  if (!holds(source) || !holds(target) || share < 1 ||
      static_cast<std::int64_t>(to.size()) != runs * target.width ||
      (runs + share - 1) / share * source.width > static_cast<std::int64_t>(from.size())) {
    throw ArgumentError(str_cat("copy_runs: ", count, " values from ", source.first, " of runs of ",
                                source.width, " in ", from.size(), ", to ", target.first,
                                " of runs of ", target.width, " in ", to.size()));
  }
  if (ctx.queue != nullptr) return cuda::copy_runs(from, source, to, target, count, share, ctx);
  const std::int64_t grain = 16384 / (count + 1);  // about 10 us
  for_ranges(ctx.pool, runs, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::copy_n(from.data() + i / share * source.width + source.first, count,
                  to.data() + i * target.width + target.first);
    }
  });
}

}  // namespace shoehorn
