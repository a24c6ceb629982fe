// One row of rms_norm, by instruction set:
// y[i] = (weight[i] + offset) · x[i] / sqrt(mean(x²) + eps), y may be x.
#pragma once

#include <cstdint>

namespace shoehorn {

namespace ref {
void rms_norm_row(const float* x, const float* weight, float offset, float eps, std::int64_t size,
                  float* y);
}
namespace avx2 {
void rms_norm_row(const float* x, const float* weight, float offset, float eps, std::int64_t size,
                  float* y);
}
namespace avx512 {
void rms_norm_row(const float* x, const float* weight, float offset, float eps, std::int64_t size,
                  float* y);
}

}  // namespace shoehorn
