// The truth of the activation family: plain loops in double precision, rounded once.
#include <cmath>

#include "kernels/activation_paths.h"

namespace shoehorn::ref {

void silu_mul(const float* gate, const float* up, std::int64_t size, float* out) {
  for (std::int64_t i = 0; i < size; ++i) {
    const double z = gate[i];
    out[i] = static_cast<float>(z / (1.0 + std::exp(-z)) * up[i]);
  }
}

}  // namespace shoehorn::ref
