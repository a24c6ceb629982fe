#include "kernels/activation.h"

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/activation_paths.h"
#include "kernels/ranges.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {
namespace {

using GatePath = void (*)(const float*, const float*, std::int64_t, float*);

GatePath path_for(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
    case Isa::kAvx512: return avx512::silu_mul;
    case Isa::kAvx2: return avx2::silu_mul;
    case Isa::kRef: break;
  }
  return ref::silu_mul;
}

}  // namespace

void silu_mul(std::span<const float> gate, std::span<const float> up, std::span<float> out,
              ExecContext& ctx) {
  if (gate.size() != up.size() || gate.size() != out.size()) {
    throw ArgumentError(str_cat("silu_mul: gate of ", gate.size(), ", up of ", up.size(),
                                " and out of ", out.size(), " values"));
  }
  if (ctx.queue != nullptr) return cuda::silu_mul(gate, up, out, ctx);
  const GatePath path = path_for(ctx.isa);
  const auto size = static_cast<std::int64_t>(gate.size());
  // Vectors do not straddle ranges: a value's lane, so its bits, are the same for any split.
  constexpr std::int64_t kChunk = 1024;
  const std::int64_t chunks = (size + kChunk - 1) / kChunk;
  for_ranges(ctx.pool, chunks, 12, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    const std::int64_t first = begin * kChunk;
    const std::int64_t last = end * kChunk < size ? end * kChunk : size;
    path(gate.data() + first, up.data() + first, last - first, out.data() + first);
  });
}

}  // namespace shoehorn
