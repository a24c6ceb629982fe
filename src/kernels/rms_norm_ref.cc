// The truth of rms_norm: plain loops in double precision, rounded once.
#include <cmath>

#include "kernels/rms_norm_paths.h"

namespace shoehorn::ref {

void rms_norm_row(const float* x, const float* weight, float offset, float eps, std::int64_t size,
                  float* y) {
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) sum += static_cast<double>(x[i]) * x[i];
  const double scale = 1.0 / std::sqrt(sum / static_cast<double>(size) + eps);
  for (std::int64_t i = 0; i < size; ++i) {
    y[i] = static_cast<float>((static_cast<double>(weight[i]) + offset) * (x[i] * scale));
  }
}

}  // namespace shoehorn::ref
