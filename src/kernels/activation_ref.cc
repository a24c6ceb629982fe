// The truth of the activation family: plain loops in double precision, rounded once.
#include <cmath>
#include <numbers>

#include "kernels/activation_paths.h"

namespace shoehorn::ref {
namespace {

double sigmoid(double z) {
  return 1.0 / (1.0 + std::exp(-z));
}

double apply(Activation activation, double z) {
  switch (activation) {
    case Activation::kSilu: return z / (1.0 + std::exp(-z));
    case Activation::kGelu: return 0.5 * z * std::erfc(-z / std::numbers::sqrt2);
    case Activation::kGeluTanh: {
      const double u = std::sqrt(2 / std::numbers::pi) * (z + 0.044715 * z * z * z);
      return z * sigmoid(2 * u);
    }
    case Activation::kQuickGelu: return z * sigmoid(1.702 * z);
    case Activation::kRelu: return z < 0 ? 0 : z;
    case Activation::kRelu2: return z < 0 ? 0 : z * z;
  }
  return z;
}

}  // namespace

void activate(Activation activation, const float* x, const float* up, std::int64_t size,
              float* out) {
  for (std::int64_t i = 0; i < size; ++i) {
    out[i] = static_cast<float>(apply(activation, x[i]) * (up != nullptr ? up[i] : 1.0));
  }
}

}  // namespace shoehorn::ref
