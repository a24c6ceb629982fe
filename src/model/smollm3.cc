// SmolLM3: Llama where every fourth layer has no rotary positions. Mirrors transformers'
// SmolLM3ForCausalLM.
#include "base/str_cat.h"
#include "model/architectures.h"
#include "model/llama_like.h"

namespace shoehorn {
namespace {

/// True for every layer that is rotated: no_rope_layers holds 1 for those, whatever its name says.
std::vector<bool> rotated_layers(const Config& config, std::int64_t count) {
  const std::vector<std::int64_t> listed = config.integers("no_rope_layers");
  std::vector<bool> rotated(static_cast<std::size_t>(count));
  if (!listed.empty() && listed.size() != rotated.size()) {
    throw config.error("no_rope_layers",
                       str_cat("has ", listed.size(), " entries for ", count, " layers"));
  }
  const std::int64_t interval = config.size("no_rope_layer_interval", 4);
  for (std::size_t i = 0; i < rotated.size(); ++i) {
    rotated[i] =
        listed.empty() ? (static_cast<std::int64_t>(i) + 1) % interval != 0 : listed[i] != 0;
  }
  return rotated;
}

}  // namespace

std::unique_ptr<const Architecture> make_smollm3(const Config& config) {
  LlamaLike m{
      .prefix = "SmolLM3",
      .dims = read_dims(config, {.num_key_value_heads = 4, .max_position_embeddings = 32768})};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", true);
  m.norm.eps = read_eps(config, "rms_norm_eps", 1e-6);
  m.norm_class = "SmolLM3RMSNorm";
  m.qkv_bias = m.o_bias = config.boolean("attention_bias", false);
  m.mlp_bias = config.boolean("mlp_bias", false);
  m.rotary = {read_rotary(config, m.dims, 2e6)};
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  const std::vector<bool> rotated = rotated_layers(config, m.dims.num_hidden_layers);
  const auto window = config.find_size("sliding_window");
  const bool has_window = config.boolean("use_sliding_window", false) && window.has_value();
  const auto sliding = read_sliding_layers(
      config, m.dims.num_hidden_layers,
      [&](std::int64_t layer) { return has_window && !rotated[static_cast<std::size_t>(layer)]; });
  m.layers = windowed_layers(m.dims, sliding, window.value_or(0));
  for (std::size_t i = 0; i < m.layers.size(); ++i) {
    if (!rotated[i]) m.layers[i].rotary = AttentionLayer::kNoRotary;
  }
  return make_decoder(llama_like(m));
}

}  // namespace shoehorn
