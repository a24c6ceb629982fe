// GPT-NeoX and Pythia (arXiv:2204.06745, 2304.01373): queries, keys and values of each head side by
// side in one matrix, a part of each head rotated, attention and mlp side by side from two layer
// norms. Mirrors transformers' GPTNeoXForCausalLM.
#include <utility>

#include "base/str_cat.h"
#include "model/architectures.h"
#include "model/config_parts.h"
#include "model/decoder.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

Module layer(std::int64_t hidden, std::int64_t inner, bool attention_bias, const std::string& act) {
  Module attention{
      .class_name = "GPTNeoXAttention",
      .children = {{"query_key_value", linear_module(3 * hidden, hidden, attention_bias)},
                   {"dense", linear_module(hidden, hidden, attention_bias)}}};
  Module mlp{.class_name = "GPTNeoXMLP",
             .children = {{"dense_h_to_4h", linear_module(inner, hidden, true)},
                          {"dense_4h_to_h", linear_module(hidden, inner, true)},
                          {"act", plain_module(act)}}};
  return {.class_name = "GPTNeoXLayer",
          .children = {{"input_layernorm", layer_norm_module(hidden)},
                       {"post_attention_layernorm", layer_norm_module(hidden)},
                       {"post_attention_dropout", plain_module("Dropout")},
                       {"post_mlp_dropout", plain_module("Dropout")},
                       {"attention", std::move(attention)},
                       {"mlp", std::move(mlp)}}};
}

}  // namespace

std::unique_ptr<const Architecture> make_gpt_neox(const Config& config) {
  DecoderDims dims = read_dims(config);
  dims.num_key_value_heads = dims.num_attention_heads;
  dims.head_dim = dims.hidden_size / dims.num_attention_heads;
  if (dims.head_dim * dims.num_attention_heads != dims.hidden_size) {
    throw config.error("num_attention_heads",
                       str_cat("does not divide hidden_size = ", dims.hidden_size));
  }
  const std::int64_t hidden = dims.hidden_size;
  const std::int64_t inner = config.size("intermediate_size");
  const ActivationConfig act = read_activation(config, "hidden_act", "gelu");
  const NormSpec norm{.kind = NormSpec::Kind::kLayer,
                      .width = hidden,
                      .eps = read_eps(config, "layer_norm_eps", 1e-5)};

  DecoderSpec spec;
  spec.rotary = {read_rotary(config, dims,
                             {.partial_rotary_factor = 0.25,
                              .theta_key = "rotary_emb_base",
                              .partial_key = "rotary_pct",
                              .odd_turns_one_more = true},
                             /*is_partial=*/true)};
  const Module one =
      layer(hidden, inner, config.boolean("attention_bias", true), activation_class(act.name));
  spec.tree.root = {
      .class_name = "GPTNeoXForCausalLM",
      .children = {
          {"gpt_neox", Module{.class_name = "GPTNeoXModel",
                              .children = {{"embed_in", embedding_module(dims.vocab_size, hidden)},
                                           {"emb_dropout", plain_module("Dropout")},
                                           {"layers", module_list(one, dims.num_hidden_layers)},
                                           {"final_layer_norm", layer_norm_module(hidden)},
                                           {"rotary_emb",
                                            rotary_module("GPTNeoXRotaryEmbedding",
                                                          spec.rotary.front().rotary_dim() / 2)}}}},
          {"lm_head", linear_module(dims.vocab_size, hidden, false)}}};
  if (config.boolean("tie_word_embeddings", false)) {
    spec.tree.ties = {{"gpt_neox.embed_in.weight", "lm_head.weight"}};
  }
  spec.tree.no_split_module_classes = {"GPTNeoXLayer"};
  spec.stored_names = {{"lm_head.weight", "embed_out.weight"}};
  spec.base_model_prefix = "gpt_neox";
  spec.hidden_size = spec.embedding_size = hidden;
  spec.vocab_size = dims.vocab_size;
  spec.max_position_embeddings = dims.max_position_embeddings;
  spec.embed_tokens = "gpt_neox.embed_in";
  spec.layers = "gpt_neox.layers";
  spec.final_norm = norm.named("gpt_neox.final_layer_norm", hidden);
  spec.attention = {.heads = dims.num_attention_heads,
                    .kv_heads = dims.num_attention_heads,
                    .head_dim = dims.head_dim,
                    .qkv = "attention.query_key_value",
                    .qkv_groups = dims.num_attention_heads,
                    .o = "attention.dense"};
  spec.attention_layers.assign(static_cast<std::size_t>(dims.num_hidden_layers),
                               {.scale = usual_scale(dims.head_dim)});
  spec.mlp = {.intermediate_size = inner,
              .activation = act.activation,
              .up = "mlp.dense_h_to_4h",
              .down = "mlp.dense_4h_to_h"};
  spec.norms.pre_attention = norm.named("input_layernorm", hidden);
  spec.norms.pre_mlp = norm.named("post_attention_layernorm", hidden);
  spec.is_parallel = config.boolean("use_parallel_residual", true);
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
