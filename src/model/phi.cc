// Phi 1, 1.5 and 2 (arXiv:2309.05463): attention and a plain mlp side by side from one layer norm,
// biases everywhere, a part of each head rotated. Phi-3 and 4 (arXiv:2404.14219): Llama with
// queries, keys and values in one matrix, gate and up in another, long texts by longrope. Mirrors
// transformers' PhiForCausalLM and Phi3ForCausalLM.
#include <utility>

#include "model/architectures.h"
#include "model/llama_like.h"
#include "model/tree_parts.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_phi(const Config& config) {
  LlamaLike m{.prefix = "Phi", .dims = read_dims(config)};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  m.norm = {.kind = NormSpec::Kind::kLayer, .eps = read_eps(config, "layer_norm_eps", 1e-5)};
  m.layer_norms = {{"input_layernorm", NormPlace::kPreAttention}};
  m.final_norm = "final_layernorm";
  m.qkv_bias = m.o_bias = m.mlp_bias = m.head_bias = true;
  m.o_proj = "dense";
  if (config.boolean("qk_layernorm", false)) {
    m.q_norm = m.norm.named("self_attn.q_layernorm", m.dims.head_dim);
    m.k_norm = m.norm.named("self_attn.k_layernorm", m.dims.head_dim);
    m.attention_extras = {{"q_layernorm", layer_norm_module(m.dims.head_dim)},
                          {"k_layernorm", layer_norm_module(m.dims.head_dim)}};
  }
  m.rotary = {read_rotary(config, m.dims, 10000, 0.5)};
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "gelu_new");
  m.mlp = LlamaLike::Mlp::kPlain;
  m.first = "fc1";
  m.second = "fc2";
  m.act_name = "activation_fn";
  m.is_act_first = true;
  m.layer_extras = {{"resid_dropout", plain_module("Dropout")}};
  DecoderSpec spec = llama_like(m);
  spec.is_parallel = true;
  // Registered in another order: ..., rotary_emb, embed_dropout, final_layernorm.
  auto& children = spec.tree.root.children.front().second.children;
  std::swap(children[2], children[3]);
  children.insert(children.begin() + 3, {"embed_dropout", plain_module("Dropout")});
  return make_decoder(std::move(spec));
}

std::unique_ptr<const Architecture> make_phi3(const Config& config) {
  LlamaLike m{.prefix = "Phi3", .dims = read_dims(config, {.max_position_embeddings = 4096})};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  m.norm.eps = read_eps(config, "rms_norm_eps", 1e-5);
  m.norm_class = "Phi3RMSNorm";
  m.has_fused_qkv = true;
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  m.mlp = LlamaLike::Mlp::kFusedGate;
  m.act_name = "activation_fn";
  m.layer_extras = {{"resid_attn_dropout", plain_module("Dropout")},
                    {"resid_mlp_dropout", plain_module("Dropout")}};
  m.rotary = {read_rotary(config, m.dims,
                          {.original_max_position_embeddings = 4096,
                           .all_types_are_longrope = true,
                           .odd_turns_one_more = true},
                          /*is_partial=*/true)};
  if (const auto window = config.find_size("sliding_window")) {
    m.layers = windowed_layers(
        m.dims, std::vector<bool>(static_cast<std::size_t>(m.dims.num_hidden_layers), true),
        *window);
  }
  return make_decoder(llama_like(m));
}

}  // namespace shoehorn
