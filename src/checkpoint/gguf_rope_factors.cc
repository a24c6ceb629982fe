#include "checkpoint/gguf_rope_factors.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace shoehorn::gguf {
namespace {

double frequency(double rope_theta, std::size_t head_dim, std::size_t i) {
  return std::pow(rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
}

bool explains(const Llama3RopeScaling& scaling, std::span<const float> divisors,
              double rope_theta) {
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    const double expected = llama3_divisor(scaling, rope_theta, 2 * divisors.size(), i);
    if (!(std::abs(divisors[i] - expected) <= 1e-4 * expected)) return false;
  }
  return true;
}

/// Between the two ends 1 / divisor = (1 - s) / factor + s, and s is linear in the frequency:
/// s = original f / (2 pi (high - low)) - low / (high - low). A line through the first and the last
/// divisor in between gives both coefficients.
std::optional<Llama3RopeScaling> fit(std::span<const float> divisors, double factor,
                                     double rope_theta) {
  double first_x = 0, first_s = 0, last_x = 0, last_s = 0;
  int between = 0;
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    if (divisors[i] < 1.0001 || divisors[i] > factor * 0.9999) continue;
    const double x = frequency(rope_theta, 2 * divisors.size(), i) / (2 * std::numbers::pi);
    const double s = (1.0 / divisors[i] - 1.0 / factor) / (1.0 - 1.0 / factor);
    if (between == 0) {
      first_x = x;
      first_s = s;
    }
    last_x = x;
    last_s = s;
    ++between;
  }
  if (between < 2) return std::nullopt;
  const double slope = (first_s - last_s) / (first_x - last_x);
  const double offset = slope * first_x - first_s;
  if (!(offset > 0)) return std::nullopt;
  const double high = 1.0 + 1.0 / offset;
  return Llama3RopeScaling{.factor = factor,
                           .low_freq_factor = 1.0,
                           .high_freq_factor = high,
                           .original_max_position_embeddings = std::round(slope * (high - 1.0))};
}

}  // namespace

double llama3_divisor(const Llama3RopeScaling& scaling, double rope_theta, std::size_t head_dim,
                      std::size_t i) {
  const double turns = scaling.original_max_position_embeddings *
                       frequency(rope_theta, head_dim, i) / (2 * std::numbers::pi);
  if (turns > scaling.high_freq_factor) return 1.0;
  if (turns < scaling.low_freq_factor) return scaling.factor;
  const double s =
      (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return 1.0 / ((1.0 - s) / scaling.factor + s);
}

std::optional<Llama3RopeScaling> llama3_scaling_of(std::span<const float> divisors,
                                                   double rope_theta) {
  if (divisors.empty()) return std::nullopt;
  const double factor = *std::max_element(divisors.begin(), divisors.end());
  Llama3RopeScaling scaling{.factor = factor};  // as published: low 1, high 4, original 8192
  if (!(factor >= 1.0) || !std::isfinite(factor)) return std::nullopt;
  if (explains(scaling, divisors, rope_theta)) return scaling;
  for (int original = 1 << 5; original <= 1 << 20; original *= 2) {
    for (const double high : {4.0, 2.0, 8.0, 16.0, 32.0}) {
      scaling.original_max_position_embeddings = original;
      scaling.high_freq_factor = high;
      if (explains(scaling, divisors, rope_theta)) return scaling;
    }
  }
  const auto fitted = fit(divisors, factor, rope_theta);
  return fitted && explains(*fitted, divisors, rope_theta) ? fitted : std::nullopt;
}

}  // namespace shoehorn::gguf
