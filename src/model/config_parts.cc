#include "model/config_parts.h"

#include <algorithm>
#include <cmath>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

// Ten times what any model has; a config that asks for more is not one.
constexpr std::int64_t kMostLayers = 10000;
constexpr std::int64_t kMostHeadDim = 8192;

}  // namespace

void require_sane(const Config& config, const DecoderDims& dims, std::string_view layers_key,
                  std::string_view heads_key) {
  if (dims.num_hidden_layers > kMostLayers) {
    throw config.error(layers_key,
                       str_cat("is ", dims.num_hidden_layers, "; at most ", kMostLayers));
  }
  if (dims.head_dim < 1) {
    throw config.error(heads_key, str_cat("is more than the hidden size of ", dims.hidden_size));
  }
  if (dims.head_dim > kMostHeadDim) {
    throw config.error("head_dim", str_cat("is ", dims.head_dim, "; at most ", kMostHeadDim));
  }
  if (dims.num_attention_heads % dims.num_key_value_heads != 0) {
    throw config.error("num_key_value_heads",
                       str_cat("does not divide ", heads_key, " = ", dims.num_attention_heads));
  }
}

DecoderDims read_dims(const Config& config, const DimDefaults& defaults) {
  DecoderDims dims;
  dims.hidden_size = config.size("hidden_size");
  dims.num_hidden_layers = config.size("num_hidden_layers");
  dims.num_attention_heads = config.size("num_attention_heads");
  dims.num_key_value_heads = config.size("num_key_value_heads", defaults.num_key_value_heads > 0
                                                                    ? defaults.num_key_value_heads
                                                                    : dims.num_attention_heads);
  dims.head_dim = config.size("head_dim", defaults.head_dim > 0 && !config.is_null("head_dim")
                                              ? defaults.head_dim
                                              : dims.hidden_size / dims.num_attention_heads);
  dims.vocab_size = config.size("vocab_size");
  dims.max_position_embeddings =
      config.size("max_position_embeddings", defaults.max_position_embeddings);
  require_sane(config, dims, "num_hidden_layers", "num_attention_heads");
  return dims;
}

std::int64_t size_of_any(const Config& config, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (const auto size = config.find_size(key)) return *size;
  }
  return config.size(*keys.begin());
}

std::vector<float> alibi_slopes(std::int64_t heads) {
  std::int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  std::vector<float> slopes;
  const auto step = [](std::int64_t exponent, std::int64_t of) {
    return static_cast<float>(
        std::pow(2.0, -8.0 * static_cast<double>(exponent) / static_cast<double>(of)));
  };
  for (std::int64_t h = 0; h < power; ++h) slopes.push_back(step(h + 1, power));
  for (std::int64_t j = 0; j < heads - power; ++j) slopes.push_back(step(2 * j + 1, 2 * power));
  return slopes;
}

std::optional<std::int64_t> size_or_null(const Config& config, std::string_view key,
                                         std::int64_t absent) {
  if (config.is_null(key)) return std::nullopt;
  return config.size(key, absent);
}

std::optional<double> number_or_null(const Config& config, std::string_view key, double absent) {
  if (config.is_null(key)) return std::nullopt;
  return config.number(key, absent);
}

float read_eps(const Config& config, std::string_view key, double absent) {
  const double eps = config.number(key, absent);
  if (!(eps >= 0)) throw config.error(key, str_cat("must not be negative, is ", eps));
  return static_cast<float>(eps);
}

ActivationConfig read_activation(const Config& config, std::string_view key,
                                 std::string_view absent) {
  const std::string name = config.text(key, absent);
  const auto found = find_activation(name);
  if (!found) {
    throw UnsupportedError(str_cat(config.path().string(), ": ", key, " \"", name,
                                   "\" is not known; shoehorn computes ", known_activations()));
  }
  return {*found, name};
}

std::vector<bool> read_sliding_layers(const Config& config, std::int64_t layers,
                                      const std::function<bool(std::int64_t)>& absent) {
  std::vector<bool> sliding(static_cast<std::size_t>(layers));
  const std::vector<std::string> types = config.texts("layer_types");
  if (types.empty()) {
    for (std::int64_t i = 0; i < layers; ++i) sliding[static_cast<std::size_t>(i)] = absent(i);
    return sliding;
  }
  if (types.size() != sliding.size()) {
    throw config.error("layer_types",
                       str_cat("has ", types.size(), " entries for ", layers, " layers"));
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "full_attention" && types[i] != "sliding_attention") {
      throw UnsupportedError(str_cat(config.path().string(), ": layer_types[", i, "] is \"",
                                     types[i],
                                     "\"; shoehorn knows full_attention and sliding_attention"));
    }
    sliding[i] = types[i] == "sliding_attention";
  }
  return sliding;
}

float usual_scale(std::int64_t head_dim) {
  return 1.0F / std::sqrt(static_cast<float>(head_dim));
}

RotaryEmbedding read_rotary(const Config& config, const DecoderDims& dims, double rope_theta,
                            std::optional<double> partial) {
  return read_rotary(config, dims,
                     {.rope_theta = rope_theta, .partial_rotary_factor = partial.value_or(1)},
                     partial.has_value());
}

RotaryEmbedding read_rotary(const Config& config, const DecoderDims& dims,
                            const RopeDefaults& defaults, bool is_partial) {
  RopeConfig rope = parse_rope_config(config, defaults, dims.max_position_embeddings);
  std::int64_t width = dims.head_dim;
  if (is_partial) {
    width =
        static_cast<std::int64_t>(static_cast<double>(dims.head_dim) * rope.partial_rotary_factor);
    if (width < 2 || width > dims.head_dim) {
      throw config.error("partial_rotary_factor",
                         str_cat("leaves ", width, " of ", dims.head_dim, " entries to turn"));
    }
  }
  const bool may_be_odd = rope.rope_type != "yarn" && rope.rope_type != "longrope";
  const bool one_more = defaults.odd_turns_one_more && may_be_odd && width < dims.head_dim;
  if (width % 2 != 0 && !one_more) {
    throw config.error("head_dim",
                       str_cat("leaves ", width, " entries to turn; their number must be even"));
  }
  return {std::move(rope), width};
}

}  // namespace shoehorn
