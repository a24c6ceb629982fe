// OPT (arXiv:2205.01068): learned positions that begin with row 2, relu, layer norms before each
// block, or after it in the 350m, whose embedding is narrower than its layers. Mirrors
// transformers' OPTForCausalLM.
#include <utility>

#include "base/str_cat.h"
#include "model/architectures.h"
#include "model/config_parts.h"
#include "model/decoder.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kPositionOffset = 2;

Module layer(std::int64_t hidden, std::int64_t inner, bool bias, const Module& norm,
             const std::string& act) {
  Module attention{.class_name = "OPTAttention",
                   .children = {{"k_proj", linear_module(hidden, hidden, bias)},
                                {"v_proj", linear_module(hidden, hidden, bias)},
                                {"q_proj", linear_module(hidden, hidden, bias)},
                                {"out_proj", linear_module(hidden, hidden, bias)}}};
  return {.class_name = "OPTDecoderLayer",
          .children = {{"self_attn", std::move(attention)},
                       {"activation_fn", plain_module(act)},
                       {"self_attn_layer_norm", norm},
                       {"fc1", linear_module(inner, hidden, bias)},
                       {"fc2", linear_module(hidden, inner, bias)},
                       {"final_layer_norm", norm}}};
}

}  // namespace

std::unique_ptr<const Architecture> make_opt(const Config& config) {
  DecoderDims dims = read_dims(config);
  dims.num_key_value_heads = dims.num_attention_heads;
  dims.head_dim = dims.hidden_size / dims.num_attention_heads;
  if (dims.head_dim * dims.num_attention_heads != dims.hidden_size) {
    throw config.error("num_attention_heads",
                       str_cat("does not divide hidden_size = ", dims.hidden_size));
  }
  const std::int64_t hidden = dims.hidden_size;
  const std::int64_t width = config.size("word_embed_proj_dim", hidden);
  const std::int64_t inner = config.size("ffn_dim");
  const bool bias = config.boolean("enable_bias", true);
  const bool is_before = config.boolean("do_layer_norm_before", true);
  const bool has_final_norm = is_before && !config.boolean("_remove_final_layer_norm", false);
  const bool has_weights = config.boolean("layer_norm_elementwise_affine", true);
  const ActivationConfig act = read_activation(config, "activation_function", "relu");
  const NormSpec norm{.kind = NormSpec::Kind::kLayer, .width = hidden, .eps = 1e-5F};
  const Module norm_module = layer_norm_module(hidden, has_weights, has_weights);

  Module positions = embedding_module(dims.max_position_embeddings + kPositionOffset, hidden);
  positions.class_name = "OPTLearnedPositionalEmbedding";
  Module decoder{.class_name = "OPTDecoder",
                 .children = {{"embed_tokens", embedding_module(dims.vocab_size, width)},
                              {"embed_positions", std::move(positions)}}};
  if (width != hidden) {
    decoder.children.emplace_back("project_out", linear_module(width, hidden, false));
    decoder.children.emplace_back("project_in", linear_module(hidden, width, false));
  }
  if (has_final_norm) decoder.children.emplace_back("final_layer_norm", norm_module);
  decoder.children.emplace_back(
      "layers", module_list(layer(hidden, inner, bias, norm_module, activation_class(act.name)),
                            dims.num_hidden_layers));

  DecoderSpec spec;
  spec.tree.root = {.class_name = "OPTForCausalLM",
                    .children = {{"model", Module{.class_name = "OPTModel",
                                                  .children = {{"decoder", std::move(decoder)}}}},
                                 {"lm_head", linear_module(dims.vocab_size, width, false)}}};
  if (config.boolean("tie_word_embeddings", true)) {
    spec.tree.ties = {{"model.decoder.embed_tokens.weight", "lm_head.weight"}};
  }
  spec.tree.no_split_module_classes = {"OPTDecoderLayer"};
  spec.base_model_prefix = "model";
  spec.hidden_size = hidden;
  spec.embedding_size = width;
  spec.vocab_size = dims.vocab_size;
  spec.max_position_embeddings = dims.max_position_embeddings;
  spec.embed_tokens = "model.decoder.embed_tokens";
  spec.embed_positions = "model.decoder.embed_positions";
  spec.position_offset = kPositionOffset;
  if (width != hidden) {
    spec.project_in = "model.decoder.project_in";
    spec.project_out = "model.decoder.project_out";
  }
  spec.layers = "model.decoder.layers";
  if (has_final_norm) spec.final_norm = norm.named("model.decoder.final_layer_norm", hidden);
  spec.attention = {.heads = dims.num_attention_heads,
                    .kv_heads = dims.num_attention_heads,
                    .head_dim = dims.head_dim,
                    .q = "self_attn.q_proj",
                    .k = "self_attn.k_proj",
                    .v = "self_attn.v_proj",
                    .o = "self_attn.out_proj"};
  spec.attention_layers.assign(
      static_cast<std::size_t>(dims.num_hidden_layers),
      {.rotary = AttentionLayer::kNoRotary, .scale = usual_scale(dims.head_dim)});
  spec.mlp = {.intermediate_size = inner, .activation = act.activation, .up = "fc1", .down = "fc2"};
  (is_before ? spec.norms.pre_attention : spec.norms.after_attention) =
      norm.named("self_attn_layer_norm", hidden);
  (is_before ? spec.norms.pre_mlp : spec.norms.after_mlp) = norm.named("final_layer_norm", hidden);
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
