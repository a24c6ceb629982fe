#include "kernels/split_columns.h"

#include <cstring>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "cuda/memory.h"
#include "kernels/ranges.h"

namespace shoehorn {

void split_columns(std::span<const float> x, std::int64_t rows, std::int64_t groups,
                   std::initializer_list<std::span<float>> parts, ExecContext& ctx) {
  const std::int64_t runs = rows * groups;
  std::size_t total = 0;
  bool are_whole = rows >= 0 && groups > 0;
  for (const std::span<float> part : parts) {
    total += part.size();
    are_whole = are_whole && (runs == 0 || static_cast<std::int64_t>(part.size()) % runs == 0);
  }
  if (!are_whole || total != x.size()) {
    throw ArgumentError(str_cat("split_columns: x of ", x.size(), " values, ", rows, " rows of ",
                                groups, " groups, do not make parts of ", total));
  }
  if (runs == 0) return;
  const std::size_t run_bytes = x.size_bytes() / static_cast<std::size_t>(runs);
  std::size_t offset = 0;
  for (const std::span<float> part : parts) {
    const std::size_t bytes = part.size_bytes() / static_cast<std::size_t>(runs);
    const auto* const from = reinterpret_cast<const std::byte*>(x.data()) + offset;
    auto* const to = reinterpret_cast<std::byte*>(part.data());
    offset += bytes;
    if (ctx.queue != nullptr) {
      cuda::copy_runs_async(*ctx.queue, to, from,
                            {.run_bytes = bytes,
                             .count = static_cast<std::size_t>(runs),
                             .to_stride = bytes,
                             .from_stride = run_bytes});
      continue;
    }
    const auto grain = static_cast<std::int64_t>(65536 / (bytes + 1));  // about 10 us
    for_ranges(ctx.pool, runs, grain, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        std::memcpy(to + i * bytes, from + i * run_bytes, bytes);
      }
    });
  }
}

}  // namespace shoehorn
