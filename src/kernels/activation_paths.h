// The activation family by instruction set: out[i] = activation(x[i]), times up[i] unless `up` is
// null; out may be x or up.
#pragma once

#include <cstdint>

#include "kernels/activation.h"

namespace shoehorn {

namespace ref {
void activate(Activation activation, const float* x, const float* up, std::int64_t size,
              float* out);
}
namespace avx2 {
void activate(Activation activation, const float* x, const float* up, std::int64_t size,
              float* out);
}
namespace avx512 {
void activate(Activation activation, const float* x, const float* up, std::int64_t size,
              float* out);
}

/// √(2/π) and the cube's factor of kGeluTanh.
inline constexpr float kGeluTanhScale = 0.7978845608028654F;
inline constexpr float kGeluTanhCube = 0.044715F;
inline constexpr float kQuickGeluScale = 1.702F;

/// erfc(z) = t · exp(-z² + polynomial(t)), t = 1 / (1 + z/2), for z >= 0, within 1.2e-7 relatively
/// (Numerical Recipes, 2nd edition, 6.2): the coefficients, that of t⁹ first.
inline constexpr float kErfc[] = {0.17087277F, -0.82215223F, 1.48851587F, -1.13520398F,
                                  0.27886807F, -0.18628806F, 0.09678418F, 0.37409196F,
                                  1.00002368F, -1.26551223F};

}  // namespace shoehorn
