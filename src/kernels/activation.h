// The activations of mlps, alone and as gates: activation(gate) · up.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "kernels/exec_context.h"

namespace shoehorn {

/// With sigmoid(z) = 1 / (1 + exp(-z)):
///   kSilu       z · sigmoid(z)
///   kGelu       z · (1 + erf(z / √2)) / 2
///   kGeluTanh   z · (1 + tanh(√(2/π) · (z + 0.044715 z³))) / 2
///   kQuickGelu  z · sigmoid(1.702 z)
///   kRelu       max(z, 0)
///   kRelu2      max(z, 0)²
enum class Activation : std::uint8_t { kSilu, kGelu, kGeluTanh, kQuickGelu, kRelu, kRelu2 };

/// The one that a config's hidden_act means ("gelu_new", "silu", ...); nothing where it is not
/// known.
std::optional<Activation> find_activation(std::string_view name);

/// All names that find_activation() knows, for messages.
std::string_view known_activations();

/// out[i] = activation(x[i]), float32; out may be x. kSilu and the relus are within 4 units in the
/// last place of the exact value wherever that is a normal number, the others within 1e-6 · |x|.
/// Throws ArgumentError if lengths differ.
void activate(Activation activation, std::span<const float> x, std::span<float> out,
              ExecContext& ctx);

/// out[i] = activation(gate[i]) · up[i]; out may be gate or up. As exact as activate(). Throws
/// ArgumentError if lengths differ.
void gate_mul(Activation activation, std::span<const float> gate, std::span<const float> up,
              std::span<float> out, ExecContext& ctx);

/// gate_mul(Activation::kSilu, ...). Within 4 units in the last place of the exact value wherever
/// that is a normal number.
void silu_mul(std::span<const float> gate, std::span<const float> up, std::span<float> out,
              ExecContext& ctx);

}  // namespace shoehorn
