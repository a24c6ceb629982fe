// StableLM 2 and 3B (arXiv:2402.17834): Llama's layout with layer norms, a part of each head
// rotated, and either kind of residual. Mirrors transformers' StableLmForCausalLM.
#include <utility>

#include "model/architectures.h"
#include "model/llama_like.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

/// A layer norm without bias for every head: `norms.0`, `norms.1`, ...
Module norms_per_head(std::int64_t heads, std::int64_t head_dim) {
  return {.class_name = "StableLmLayerNormPerHead",
          .children = {{"norms", module_list(layer_norm_module(head_dim, true, false), heads)}}};
}

}  // namespace

std::unique_ptr<const Architecture> make_stablelm(const Config& config) {
  LlamaLike m{
      .prefix = "StableLm",
      .dims = read_dims(config, {.num_key_value_heads = 32, .max_position_embeddings = 4096})};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  m.norm = {.kind = NormSpec::Kind::kLayer, .eps = read_eps(config, "layer_norm_eps", 1e-5)};
  m.qkv_bias = config.boolean("use_qkv_bias", false);
  const bool is_parallel = config.boolean("use_parallel_residual", false);
  if (is_parallel) m.layer_norms = {{"input_layernorm", NormPlace::kPreAttention}};
  if (config.boolean("qk_layernorm", false)) {
    const std::int64_t heads = m.dims.num_attention_heads;
    const std::int64_t kv_heads = m.dims.num_key_value_heads;
    m.q_norm = m.norm.named("self_attn.q_layernorm", m.dims.head_dim);
    m.q_norm.modules = heads;
    m.k_norm = m.norm.named("self_attn.k_layernorm", m.dims.head_dim);
    m.k_norm.modules = kv_heads;
    m.attention_extras = {{"q_layernorm", norms_per_head(heads, m.dims.head_dim)},
                          {"k_layernorm", norms_per_head(kv_heads, m.dims.head_dim)}};
  }
  m.rotary = {read_rotary(config, m.dims, 10000, 0.25)};
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  m.layer_extras = {{"dropout", plain_module("Dropout")}};
  DecoderSpec spec = llama_like(m);
  spec.is_parallel = is_parallel;
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
