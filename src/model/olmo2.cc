// OLMo 2 (arXiv:2501.00656): Llama with a norm after each block in place of one before it, and
// norms over whole rows of queries and keys. Mirrors transformers' Olmo2ForCausalLM.
#include "model/architectures.h"
#include "model/llama_like.h"
#include "model/tree_parts.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_olmo2(const Config& config) {
  LlamaLike m{.prefix = "Olmo2", .dims = read_dims(config)};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  m.norm.eps = read_eps(config, "rms_norm_eps", 1e-5);
  m.norm_class = "Olmo2RMSNorm";
  m.layer_norms = {{"post_attention_layernorm", NormPlace::kPostAttention},
                   {"post_feedforward_layernorm", NormPlace::kPostMlp}};
  m.qkv_bias = m.o_bias = config.boolean("attention_bias", false);
  const std::int64_t q_width = m.dims.num_attention_heads * m.dims.head_dim;
  const std::int64_t kv_width = m.dims.num_key_value_heads * m.dims.head_dim;
  m.q_norm = m.norm.named("self_attn.q_norm", q_width);
  m.k_norm = m.norm.named("self_attn.k_norm", kv_width);
  m.attention_extras = {{"q_norm", norm_module(m.norm_class, q_width)},
                        {"k_norm", norm_module(m.norm_class, kv_width)}};
  m.rotary = {read_rotary(config, m.dims, 10000)};
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  return make_decoder(llama_like(m));
}

}  // namespace shoehorn
