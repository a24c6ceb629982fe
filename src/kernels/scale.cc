#include "kernels/scale.h"

#include <cmath>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/attention_paths.h"
#include "kernels/ranges.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {
namespace {

void soft_cap_ref(float* x, std::int64_t count, float cap) {
  for (std::int64_t i = 0; i < count; ++i) {
    x[i] = static_cast<float>(cap * std::tanh(static_cast<double>(x[i]) / cap));
  }
}

}  // namespace

// Plain loops: the compiler's SSE2 code already waits for memory.
void scale(std::span<float> x, float factor, ExecContext& ctx) {
  if (ctx.queue != nullptr) return cuda::scale(x, factor, ctx);
  const auto size = static_cast<std::int64_t>(x.size());
  for_ranges(ctx.pool, size, 32768, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    float* const values = x.data();
    for (std::int64_t i = begin; i < end; ++i) values[i] *= factor;
  });
}

void add_scaled(std::span<float> x, std::span<const float> y, float factor, ExecContext& ctx) {
  if (x.size() != y.size()) {
    throw ArgumentError(str_cat("add_scaled: x of ", x.size(), " and y of ", y.size(), " values"));
  }
  if (ctx.queue != nullptr) return cuda::add_scaled(x, y, factor, ctx);
  const auto size = static_cast<std::int64_t>(x.size());
  for_ranges(ctx.pool, size, 32768, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    float* const to = x.data();
    const float* const from = y.data();
    for (std::int64_t i = begin; i < end; ++i) to[i] += factor * from[i];
  });
}

void soft_cap(std::span<float> x, float cap, ExecContext& ctx) {
  if (ctx.queue != nullptr) return cuda::soft_cap(x, cap, ctx);
  auto* const path = ctx.isa == Isa::kRef    ? soft_cap_ref
                     : ctx.isa == Isa::kAvx2 ? avx2::kAttention.soft_cap
                                             : avx512::kAttention.soft_cap;
  const auto size = static_cast<std::int64_t>(x.size());
  constexpr std::int64_t kChunk = 1024;  // whole vectors: bits do not depend on the split
  const std::int64_t chunks = (size + kChunk - 1) / kChunk;
  for_ranges(ctx.pool, chunks, 8, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    const std::int64_t last = end * kChunk < size ? end * kChunk : size;
    path(x.data() + begin * kChunk, last - begin * kChunk, cap);
  });
}

}  // namespace shoehorn
