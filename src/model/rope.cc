#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

/// theta^(-2i/dim).
std::vector<double> base_frequencies(double theta, std::int64_t dim) {
  std::vector<double> result(static_cast<std::size_t>((dim + 1) / 2));
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = 1.0 / std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(dim));
  }
  return result;
}

void scale_llama3(const RopeConfig& config, std::vector<double>& frequencies) {
  const auto original = static_cast<double>(config.original_max_position_embeddings);
  for (double& frequency : frequencies) {
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength < original / config.high_freq_factor) continue;
    if (wavelength > original / config.low_freq_factor) {
      frequency /= config.factor;
      continue;
    }
    const double smooth = (original / wavelength - config.low_freq_factor) /
                          (config.high_freq_factor - config.low_freq_factor);
    frequency = (1 - smooth) * frequency / config.factor + smooth * frequency;
  }
}

void scale_yarn(const RopeConfig& config, std::int64_t dim, std::vector<double>& frequencies) {
  const auto dims = static_cast<double>(dim);
  const auto original = static_cast<double>(config.original_max_position_embeddings);
  // The dimension that turns `turns` times over the original length.
  const auto bound = [&](double turns) {
    return dims * std::log(original / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(config.rope_theta));
  };
  double low = bound(config.beta_fast);
  double high = bound(config.beta_slow);
  if (config.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = (1 - ramp) * frequencies[i] + ramp * frequencies[i] / config.factor;
  }
}

float attention_scaling(const RopeConfig& config) {
  if (config.rope_type != "yarn" && config.rope_type != "longrope") return 1.0F;
  if (config.attention_factor) return static_cast<float>(*config.attention_factor);
  if (config.rope_type == "longrope") {
    const auto original = static_cast<double>(config.original_max_position_embeddings);
    return config.factor <= 1
               ? 1.0F
               : static_cast<float>(std::sqrt(1 + std::log(config.factor) / std::log(original)));
  }
  if (config.mscale.value_or(0) != 0 && config.mscale_all_dim.value_or(0) != 0) {
    return static_cast<float>(yarn_mscale(config.factor, *config.mscale) /
                              yarn_mscale(config.factor, *config.mscale_all_dim));
  }
  return static_cast<float>(yarn_mscale(config.factor, 1));
}

/// A factor list of longrope: one finite positive number a frequency.
std::vector<double> factor_list(const Config& settings, std::string_view key) {
  std::vector<double> factors = settings.numbers(key);
  if (factors.empty()) throw settings.error(key, "is needed for rope_type \"longrope\"");
  if (std::ranges::any_of(factors, [](double factor) { return !(factor > 0); })) {
    throw settings.error(key, "must hold positive numbers");
  }
  return factors;
}

double positive(const Config& settings, std::string_view key, double absent) {
  const double value = settings.number(key, absent);
  if (!(value > 0)) throw settings.error(key, str_cat("must be positive, is ", value));
  return value;
}

}  // namespace

RopeConfig parse_rope_config(const Config& config, double default_theta,
                             std::int64_t max_position_embeddings) {
  return parse_rope_config(config, RopeDefaults{.rope_theta = default_theta},
                           max_position_embeddings);
}

RopeConfig parse_rope_config(const Config& config, const RopeDefaults& defaults,
                             std::int64_t max_position_embeddings) {
  std::optional<Config> settings = config.find_child("rope_scaling");
  if (!settings) settings = config.find_child("rope_parameters");
  return parse_rope_settings(config, settings, defaults, max_position_embeddings);
}

RopeConfig parse_rope_settings(const Config& config, const std::optional<Config>& settings,
                               const RopeDefaults& defaults, std::int64_t max_position_embeddings) {
  RopeConfig rope;
  rope.max_position_embeddings = max_position_embeddings;
  rope.rope_theta = positive(config, defaults.theta_key, defaults.rope_theta);
  rope.partial_rotary_factor =
      positive(config, defaults.partial_key, defaults.partial_rotary_factor);
  rope.original_max_position_embeddings = defaults.original_max_position_embeddings > 0
                                              ? defaults.original_max_position_embeddings
                                              : max_position_embeddings;
  if (settings) {
    rope.rope_type = settings->text("rope_type", settings->text("type", "default"));
    rope.rope_theta = positive(*settings, "rope_theta", rope.rope_theta);
    rope.partial_rotary_factor =
        positive(*settings, "partial_rotary_factor", rope.partial_rotary_factor);
    rope.original_max_position_embeddings =
        settings->size("original_max_position_embeddings", rope.original_max_position_embeddings);
  }
  rope.original_max_position_embeddings =
      config.size("original_max_position_embeddings", rope.original_max_position_embeddings);
  if (rope.rope_type == "default") return rope;
  if (defaults.all_types_are_longrope) rope.rope_type = "longrope";

  if (rope.rope_type == "longrope") {
    rope.short_factor = factor_list(*settings, "short_factor");
    rope.long_factor = factor_list(*settings, "long_factor");
    const double grown = static_cast<double>(max_position_embeddings) /
                         static_cast<double>(rope.original_max_position_embeddings);
    rope.factor = positive(*settings, "factor", grown);
  } else if (rope.rope_type == "linear" || rope.rope_type == "dynamic" ||
             rope.rope_type == "llama3" || rope.rope_type == "yarn") {
    rope.factor = settings->number("factor");
    if (!(rope.factor > 0)) throw settings->error("factor", "must be positive");
  } else {
    throw UnsupportedError(str_cat(config.path().string(), ": rope_type \"", rope.rope_type,
                                   "\"; shoehorn knows default, linear, dynamic, llama3, yarn and "
                                   "longrope"));
  }
  if (rope.rope_type == "llama3") {
    rope.low_freq_factor = positive(*settings, "low_freq_factor", 1);
    rope.high_freq_factor = positive(*settings, "high_freq_factor", 4);
    if (rope.low_freq_factor >= rope.high_freq_factor) {
      throw settings->error("low_freq_factor", "must be below high_freq_factor");
    }
  }
  rope.beta_fast = positive(*settings, "beta_fast", 32);
  rope.beta_slow = positive(*settings, "beta_slow", 1);
  rope.truncate = settings->boolean("truncate", true);
  rope.attention_factor = settings->find_number("attention_factor");
  rope.mscale = settings->find_number("mscale");
  rope.mscale_all_dim = settings->find_number("mscale_all_dim");
  return rope;
}

RotaryEmbedding::RotaryEmbedding(RopeConfig config, std::int64_t dim)
    : config_(std::move(config)), dim_(dim), attention_scaling_(attention_scaling(config_)) {
  const bool longrope = config_.rope_type == "longrope";
  const auto half = static_cast<std::size_t>(rotary_dim() / 2);
  if (longrope && (config_.short_factor.size() != half || config_.long_factor.size() != half)) {
    throw FormatError(str_cat("rope_scaling: short_factor and long_factor need ", half,
                              " entries each, have ", config_.short_factor.size(), " and ",
                              config_.long_factor.size()));
  }
  plain_ = scaled(config_.rope_theta, longrope ? config_.short_factor : std::vector<double>{});
  if (longrope) long_ = scaled(config_.rope_theta, config_.long_factor);
}

std::vector<float> RotaryEmbedding::scaled(double theta, const std::vector<double>& factors) const {
  std::vector<double> frequencies = base_frequencies(theta, dim_);
  if (config_.rope_type == "linear") {
    for (double& frequency : frequencies) frequency /= config_.factor;
  } else if (config_.rope_type == "llama3") {
    scale_llama3(config_, frequencies);
  } else if (config_.rope_type == "yarn") {
    scale_yarn(config_, dim_, frequencies);
  } else if (config_.rope_type == "longrope") {
    for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= factors[i];
  }
  return {frequencies.begin(), frequencies.end()};
}

std::vector<float> RotaryEmbedding::frequencies(std::int64_t call_length, RopeState& state) const {
  if (config_.rope_type == "longrope") {
    return call_length > config_.original_max_position_embeddings ? long_ : plain_;
  }
  if (config_.rope_type != "dynamic") return plain_;
  const std::int64_t limit = config_.max_position_embeddings;
  if (call_length < limit) state.longest_call = 0;
  state.longest_call = std::max(state.longest_call, call_length);
  if (state.longest_call <= limit) return plain_;
  const double ratio = static_cast<double>(state.longest_call) / static_cast<double>(limit);
  const auto dims = static_cast<double>(dim_);
  const double theta = config_.rope_theta *
                       std::pow(config_.factor * ratio - (config_.factor - 1), dims / (dims - 2));
  return scaled(theta, {});
}

void RotaryEmbedding::table(std::span<const std::int32_t> positions,
                            std::span<const float> frequencies, std::span<float> cos,
                            std::span<float> sin) const {
  const std::size_t half = frequencies.size();
  for (std::size_t row = 0; row < positions.size(); ++row) {
    const auto position = static_cast<float>(positions[row]);
    for (std::size_t i = 0; i < half; ++i) {
      // The angle is rounded to float32 as torch does before it takes the cosine.
      const float angle = position * frequencies[i];
      cos[row * half + i] = std::cos(angle) * attention_scaling_;
      sin[row * half + i] = std::sin(angle) * attention_scaling_;
    }
  }
}

}  // namespace shoehorn
