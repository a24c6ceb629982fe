#include "kernels/activation.h"

#include <array>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/activation_paths.h"
#include "kernels/ranges.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {
namespace {

using ActivatePath = void (*)(Activation, const float*, const float*, std::int64_t, float*);

ActivatePath path_for(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
    case Isa::kAvx512: return avx512::activate;
    case Isa::kAvx2: return avx2::activate;
    case Isa::kRef: break;
  }
  return ref::activate;
}

void run(Activation activation, const float* x, const float* up, std::size_t count, float* out,
         ExecContext& ctx) {
  const ActivatePath path = path_for(ctx.isa);
  const auto size = static_cast<std::int64_t>(count);
  // Vectors do not straddle ranges: a value's lane, so its bits, are the same for any split.
  constexpr std::int64_t kChunk = 1024;
  const std::int64_t chunks = (size + kChunk - 1) / kChunk;
  for_ranges(ctx.pool, chunks, 12, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    const std::int64_t first = begin * kChunk;
    const std::int64_t last = end * kChunk < size ? end * kChunk : size;
    path(activation, x + first, up == nullptr ? nullptr : up + first, last - first, out + first);
  });
}

constexpr std::array kNames = {
    std::pair{std::string_view("silu"), Activation::kSilu},
    std::pair{std::string_view("swish"), Activation::kSilu},
    std::pair{std::string_view("gelu"), Activation::kGelu},
    std::pair{std::string_view("gelu_python"), Activation::kGelu},
    std::pair{std::string_view("gelu_new"), Activation::kGeluTanh},
    std::pair{std::string_view("gelu_fast"), Activation::kGeluTanh},
    std::pair{std::string_view("gelu_pytorch_tanh"), Activation::kGeluTanh},
    std::pair{std::string_view("quick_gelu"), Activation::kQuickGelu},
    std::pair{std::string_view("relu"), Activation::kRelu},
    std::pair{std::string_view("relu2"), Activation::kRelu2},
};

}  // namespace

std::optional<Activation> find_activation(std::string_view name) {
  for (const auto& [known, activation] : kNames) {
    if (known == name) return activation;
  }
  return std::nullopt;
}

std::string_view known_activations() {
  return "silu, swish, gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, quick_gelu, relu "
         "and relu2";
}

void activate(Activation activation, std::span<const float> x, std::span<float> out,
              ExecContext& ctx) {
  if (x.size() != out.size()) {
    throw ArgumentError(
        str_cat("activate: x of ", x.size(), " and out of ", out.size(), " values"));
  }
  if (ctx.queue != nullptr) return cuda::activate(activation, x, out, ctx);
  run(activation, x.data(), nullptr, x.size(), out.data(), ctx);
}

void gate_mul(Activation activation, std::span<const float> gate, std::span<const float> up,
              std::span<float> out, ExecContext& ctx) {
  if (gate.size() != up.size() || gate.size() != out.size()) {
    throw ArgumentError(str_cat("gate_mul: gate of ", gate.size(), ", up of ", up.size(),
                                " and out of ", out.size(), " values"));
  }
  if (ctx.queue != nullptr) return cuda::gate_mul(activation, gate, up, out, ctx);
  run(activation, gate.data(), up.data(), gate.size(), out.data(), ctx);
}

void silu_mul(std::span<const float> gate, std::span<const float> up, std::span<float> out,
              ExecContext& ctx) {
  gate_mul(Activation::kSilu, gate, up, out, ctx);
}

}  // namespace shoehorn
