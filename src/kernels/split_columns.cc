#include "kernels/split_columns.h"

#include <cstring>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/ranges.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {

void split_columns(std::span<const float> x, std::int64_t rows, std::int64_t groups,
                   std::initializer_list<std::span<float>> parts, ExecContext& ctx) {
  const std::int64_t runs = rows * groups;
  std::size_t total = 0;
  bool are_whole = rows >= 0 && groups > 0 && parts.size() <= kMostSplitParts;
  for (const std::span<float> part : parts) {
    total += part.size();
    are_whole = are_whole && (runs == 0 || static_cast<std::int64_t>(part.size()) % runs == 0);
  }
  if (!are_whole || total != x.size()) {
    throw ArgumentError(str_cat("split_columns: x of ", x.size(), " values, ", rows, " rows of ",
                                groups, " groups, do not make ", parts.size(), " parts of ",
                                total));
  }
  if (runs == 0) return;
  if (ctx.queue != nullptr) {
    return cuda::split_columns(x, runs, std::span(parts.begin(), parts.size()), ctx);
  }
  const std::size_t run_bytes = x.size_bytes() / static_cast<std::size_t>(runs);
  std::size_t offset = 0;
  for (const std::span<float> part : parts) {
    const std::size_t bytes = part.size_bytes() / static_cast<std::size_t>(runs);
    const auto* const from = reinterpret_cast<const std::byte*>(x.data()) + offset;
    auto* const to = reinterpret_cast<std::byte*>(part.data());
    offset += bytes;
    const auto grain = static_cast<std::int64_t>(65536 / (bytes + 1));  // about 10 us
    for_ranges(ctx.pool, runs, grain, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        std::memcpy(to + i * bytes, from + i * run_bytes, bytes);
      }
    });
  }
}

}  // namespace shoehorn
