// GPT-2 (Radford et al., 2019): learned positions, layer norms before each block, matrices stored
// transposed (Conv1D). Mirrors transformers' GPT2LMHeadModel.
#include <cmath>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "model/architectures.h"
#include "model/config_parts.h"
#include "model/decoder.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

Module block(std::int64_t hidden, std::int64_t inner, const std::string& act) {
  Module attention{.class_name = "GPT2Attention",
                   .children = {{"c_attn", conv1d_module(hidden, 3 * hidden)},
                                {"c_proj", conv1d_module(hidden, hidden)},
                                {"attn_dropout", plain_module("Dropout")},
                                {"resid_dropout", plain_module("Dropout")}}};
  Module mlp{.class_name = "GPT2MLP",
             .children = {{"c_fc", conv1d_module(hidden, inner)},
                          {"c_proj", conv1d_module(inner, hidden)},
                          {"act", plain_module(act)},
                          {"dropout", plain_module("Dropout")}}};
  return {.class_name = "GPT2Block",
          .children = {{"ln_1", layer_norm_module(hidden)},
                       {"attn", std::move(attention)},
                       {"ln_2", layer_norm_module(hidden)},
                       {"mlp", std::move(mlp)}}};
}

std::vector<AttentionLayer> layers_of(const Config& config, const DecoderDims& dims) {
  const bool has_scale = config.boolean("scale_attn_weights", true);
  const bool by_layer = config.boolean("scale_attn_by_inverse_layer_idx", false);
  std::vector<AttentionLayer> layers;
  for (std::int64_t i = 0; i < dims.num_hidden_layers; ++i) {
    const float scale = has_scale ? usual_scale(dims.head_dim) : 1.0F;
    layers.push_back({.rotary = AttentionLayer::kNoRotary,
                      .scale = by_layer ? scale / static_cast<float>(i + 1) : scale});
  }
  return layers;
}

}  // namespace

std::unique_ptr<const Architecture> make_gpt2(const Config& config) {
  DecoderDims dims;
  dims.hidden_size = size_of_any(config, {"n_embd", "hidden_size"});
  dims.num_hidden_layers = size_of_any(config, {"n_layer", "num_hidden_layers"});
  dims.num_attention_heads = size_of_any(config, {"n_head", "num_attention_heads"});
  dims.num_key_value_heads = dims.num_attention_heads;
  dims.head_dim = dims.hidden_size / dims.num_attention_heads;
  dims.vocab_size = config.size("vocab_size");
  dims.max_position_embeddings =
      config.size("n_positions", config.size("max_position_embeddings", 1024));
  require_sane(config, dims, "n_layer", "n_head");
  if (dims.head_dim * dims.num_attention_heads != dims.hidden_size) {
    throw config.error("n_head", str_cat("does not divide n_embd = ", dims.hidden_size));
  }
  if (config.boolean("add_cross_attention", false)) {
    throw UnsupportedError(str_cat(config.path().string(),
                                   ": add_cross_attention is true; shoehorn runs decoders alone"));
  }
  const std::int64_t hidden = dims.hidden_size;
  const std::int64_t inner = config.size("n_inner", 4 * hidden);
  const ActivationConfig act = read_activation(config, "activation_function", "gelu_new");
  const NormSpec norm{.kind = NormSpec::Kind::kLayer,
                      .width = hidden,
                      .eps = read_eps(config, "layer_norm_epsilon", 1e-5)};

  DecoderSpec spec;
  spec.tree.root = {
      .class_name = "GPT2LMHeadModel",
      .children = {
          {"transformer",
           Module{.class_name = "GPT2Model",
                  .children = {{"wte", embedding_module(dims.vocab_size, hidden)},
                               {"wpe", embedding_module(dims.max_position_embeddings, hidden)},
                               {"drop", plain_module("Dropout")},
                               {"h", module_list(block(hidden, inner, activation_class(act.name)),
                                                 dims.num_hidden_layers)},
                               {"ln_f", layer_norm_module(hidden)}}}},
          {"lm_head", linear_module(dims.vocab_size, hidden, false)}}};
  if (config.boolean("tie_word_embeddings", true)) {
    spec.tree.ties = {{"transformer.wte.weight", "lm_head.weight"}};
  }
  spec.tree.no_split_module_classes = {"GPT2Block"};
  spec.base_model_prefix = "transformer";
  spec.hidden_size = spec.embedding_size = hidden;
  spec.vocab_size = dims.vocab_size;
  spec.max_position_embeddings = dims.max_position_embeddings;
  spec.embed_tokens = "transformer.wte";
  spec.embed_positions = "transformer.wpe";
  spec.layers = "transformer.h";
  spec.final_norm = norm.named("transformer.ln_f", hidden);
  spec.attention = {.heads = dims.num_attention_heads,
                    .kv_heads = dims.num_attention_heads,
                    .head_dim = dims.head_dim,
                    .qkv = "attn.c_attn",
                    .o = "attn.c_proj"};
  spec.attention_layers = layers_of(config, dims);
  spec.mlp = {.intermediate_size = inner,
              .activation = act.activation,
              .up = "mlp.c_fc",
              .down = "mlp.c_proj"};
  spec.norms.pre_attention = norm.named("ln_1", hidden);
  spec.norms.pre_mlp = norm.named("ln_2", hidden);
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
