// The Llama family (arXiv:2302.13971, 2407.21783): RMSNorm, rotary positions, grouped-query
// attention, a gated silu mlp. Mirrors transformers' LlamaForCausalLM, and MistralForCausalLM
// (arXiv:2310.06825), which adds a window.
#include "model/architectures.h"
#include "model/llama_like.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_llama(const Config& config) {
  LlamaLike m{.prefix = "Llama", .dims = read_dims(config)};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  m.norm.eps = read_eps(config, "rms_norm_eps", 1e-6);
  m.norm_class = "LlamaRMSNorm";
  m.qkv_bias = m.o_bias = config.boolean("attention_bias", false);
  m.mlp_bias = config.boolean("mlp_bias", false);
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  m.rotary = {read_rotary(config, m.dims, 10000)};
  return make_decoder(llama_like(m));
}

std::unique_ptr<const Architecture> make_mistral(const Config& config) {
  LlamaLike m{
      .prefix = "Mistral",
      .dims = read_dims(config, {.num_key_value_heads = 8, .max_position_embeddings = 4096 * 32})};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  m.norm.eps = read_eps(config, "rms_norm_eps", 1e-6);
  m.norm_class = "MistralRMSNorm";
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  m.rotary = {read_rotary(config, m.dims, 10000)};
  if (const auto window = size_or_null(config, "sliding_window", 4096)) {
    m.layers = windowed_layers(
        m.dims, std::vector<bool>(static_cast<std::size_t>(m.dims.num_hidden_layers), true),
        *window);
  }
  return make_decoder(llama_like(m));
}

}  // namespace shoehorn
