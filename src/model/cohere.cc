// Command R (Cohere): attention and mlp side by side from one layer norm without bias, interleaved
// rotary pairs, scaled logits. Mirrors transformers' CohereForCausalLM.
#include <utility>

#include "model/architectures.h"
#include "model/llama_like.h"

namespace shoehorn {
namespace {

/// One norm of a head's width, with weights for every head.
Module norm_of_heads(std::int64_t heads, std::int64_t head_dim) {
  return {.class_name = "CohereLayerNorm", .parameters = {{"weight", Shape{heads, head_dim}}}};
}

}  // namespace

std::unique_ptr<const Architecture> make_cohere(const Config& config) {
  LlamaLike m{.prefix = "Cohere", .dims = read_dims(config, {.max_position_embeddings = 8192})};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", true);
  m.norm = {.kind = NormSpec::Kind::kLayer, .eps = read_eps(config, "layer_norm_eps", 1e-5)};
  m.norm_class = "CohereLayerNorm";
  m.layer_norms = {{"input_layernorm", NormPlace::kPreAttention}};
  m.qkv_bias = m.o_bias = config.boolean("attention_bias", false);
  if (config.boolean("use_qk_norm", false)) {
    m.q_norm = m.norm.named("self_attn.q_norm", m.dims.head_dim);
    m.q_norm.weight_rows = m.dims.num_attention_heads;
    m.k_norm = m.norm.named("self_attn.k_norm", m.dims.head_dim);
    m.k_norm.weight_rows = m.dims.num_key_value_heads;
    m.attention_extras = {{"q_norm", norm_of_heads(m.dims.num_attention_heads, m.dims.head_dim)},
                          {"k_norm", norm_of_heads(m.dims.num_key_value_heads, m.dims.head_dim)}};
  }
  m.pairs = RotaryPairs::kInterleaved;
  m.rotary = {read_rotary(config, m.dims, 500000)};
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  DecoderSpec spec = llama_like(m);
  spec.is_parallel = true;
  spec.logits_multiplier = static_cast<float>(config.number("logit_scale", 0.0625));
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
