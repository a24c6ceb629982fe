#include "kernels/copy.h"

#include <cstddef>
#include <cstring>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {

void copy_values(std::span<const float> from, std::span<float> to, ExecContext& ctx) {
  if (from.size() != to.size()) {
    throw ArgumentError(str_cat("copy_values: ", from.size(), " values to ", to.size()));
  }
  if (from.data() == to.data() || from.empty()) return;
  if (ctx.queue != nullptr) return cuda::copy_values(from, to, ctx);
  std::memcpy(to.data(), from.data(), from.size_bytes());
}

void stack_rows(std::span<const float* const> rows, std::int64_t width, std::span<float> to,
                ExecContext& ctx) {
  if (width < 0 || to.size() != rows.size() * static_cast<std::size_t>(width)) {
    throw ArgumentError(
        str_cat("stack_rows: ", rows.size(), " rows of ", width, " values to ", to.size()));
  }
  if (to.empty()) return;
  if (ctx.queue != nullptr) return cuda::stack_rows(rows, width, to, ctx);
  const std::size_t bytes = static_cast<std::size_t>(width) * sizeof(float);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(to.data() + i * static_cast<std::size_t>(width), rows[i], bytes);
  }
}

}  // namespace shoehorn
