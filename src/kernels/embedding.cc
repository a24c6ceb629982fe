#include "kernels/embedding.h"

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/decode_row.h"
#include "kernels/ranges.h"

namespace shoehorn {

void embed_rows(const TensorView& table, std::span<const std::int32_t> ids, std::span<float> out,
                ExecContext& ctx) {
  const auto count = static_cast<std::int64_t>(ids.size());
  if (table.shape.rank() != 2 || static_cast<std::int64_t>(out.size()) != count * table.shape[1]) {
    throw ArgumentError(str_cat("embed_rows: table ", to_string(table.shape), ", ", count,
                                " ids and out of ", out.size(), " values"));
  }
  const std::int64_t rows = table.shape[0];
  const std::int64_t size = table.shape[1];
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= rows) {
      throw ArgumentError(str_cat("token ", id, " is outside the embedding of ", rows, " tokens"));
    }
  }
  const std::size_t row_bytes = packed_bytes(table.dtype, size).value();
  const std::int64_t grain = 16384 / (size + 1);  // about 10 us
  for_ranges(ctx.pool, count, grain, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    for (std::int64_t t = begin; t < end; ++t) {
      const auto id = static_cast<std::size_t>(ids[static_cast<std::size_t>(t)]);
      decode_row(table.dtype, table.data + id * row_bytes, size, out.data() + t * size, ctx.isa);
    }
  });
}

}  // namespace shoehorn
