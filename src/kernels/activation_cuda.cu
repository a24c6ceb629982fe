// The activation family on a CUDA device.
#include <type_traits>

#include "kernels/activation_cuda.h"
#include "kernels/each_cuda.h"
#include "kernels/rows_cuda.h"

namespace shoehorn::cuda {
namespace {

template <Activation kActivation>
struct Activate {
  const float* x;
  float* out;

  __device__ void one(std::int64_t i) const { out[i] = activated<kActivation>(x[i]); }
  __device__ void four(std::int64_t i) const {
    const float4 z = reinterpret_cast<const float4*>(x)[i];
    reinterpret_cast<float4*>(out)[i] =
        map_four(z, [](float v) { return activated<kActivation>(v); });
  }
  bool is_aligned() const { return are_aligned_16({x, out}); }
};

template <Activation kActivation>
struct GateMul {
  const float* gate;
  const float* up;
  float* out;

  __device__ static float gated(float g, float u) { return activated<kActivation>(g) * u; }
  __device__ void one(std::int64_t i) const { out[i] = gated(gate[i], up[i]); }
  __device__ void four(std::int64_t i) const {
    const float4 g = reinterpret_cast<const float4*>(gate)[i];
    const float4 u = reinterpret_cast<const float4*>(up)[i];
    reinterpret_cast<float4*>(out)[i] =
        map_four(g, u, [](float a, float b) { return gated(a, b); });
  }
  bool is_aligned() const { return are_aligned_16({gate, up, out}); }
};

/// run(std::integral_constant<Activation, ...>) of the one that is asked for.
template <typename Run>
void with_activation(Activation activation, const Run& run) {
  switch (activation) {
    case Activation::kSilu: return run(std::integral_constant<Activation, Activation::kSilu>());
    case Activation::kGelu: return run(std::integral_constant<Activation, Activation::kGelu>());
    case Activation::kGeluTanh:
      return run(std::integral_constant<Activation, Activation::kGeluTanh>());
    case Activation::kQuickGelu:
      return run(std::integral_constant<Activation, Activation::kQuickGelu>());
    case Activation::kRelu: return run(std::integral_constant<Activation, Activation::kRelu>());
    case Activation::kRelu2: return run(std::integral_constant<Activation, Activation::kRelu2>());
  }
}

}  // namespace

void activate(Activation activation, std::span<const float> x, std::span<float> out,
              ExecContext& ctx) {
  with_activation(activation, [&](auto which) {
    run_each(Activate<decltype(which)::value>{x.data(), out.data()}, out.size(), *ctx.queue,
             "activate");
  });
}

void gate_mul(Activation activation, std::span<const float> gate, std::span<const float> up,
              std::span<float> out, ExecContext& ctx) {
  with_activation(activation, [&](auto which) {
    run_each(GateMul<decltype(which)::value>{gate.data(), up.data(), out.data()}, out.size(),
             *ctx.queue, "gate_mul");
  });
}

}  // namespace shoehorn::cuda
