// BLOOM (arXiv:2211.05100): no positions but linear biases (ALiBi), a layer norm behind the
// embedding, queries, keys and values of each head side by side in one matrix. Mirrors
// transformers' BloomForCausalLM.
#include <utility>

#include "base/str_cat.h"
#include "model/architectures.h"
#include "model/config_parts.h"
#include "model/decoder.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

Module block(std::int64_t hidden) {
  Module attention{.class_name = "BloomAttention",
                   .children = {{"query_key_value", linear_module(3 * hidden, hidden, true)},
                                {"dense", linear_module(hidden, hidden, true)},
                                {"attention_dropout", plain_module("Dropout")}}};
  Module mlp{.class_name = "BloomMLP",
             .children = {{"dense_h_to_4h", linear_module(4 * hidden, hidden, true)},
                          {"gelu_impl", plain_module("BloomGelu")},
                          {"dense_4h_to_h", linear_module(hidden, 4 * hidden, true)}}};
  return {.class_name = "BloomBlock",
          .children = {{"input_layernorm", layer_norm_module(hidden)},
                       {"self_attention", std::move(attention)},
                       {"post_attention_layernorm", layer_norm_module(hidden)},
                       {"mlp", std::move(mlp)}}};
}

}  // namespace

std::unique_ptr<const Architecture> make_bloom(const Config& config) {
  DecoderDims dims;
  dims.hidden_size = size_of_any(config, {"hidden_size", "n_embed"});
  dims.num_hidden_layers = size_of_any(config, {"n_layer", "num_hidden_layers"});
  dims.num_attention_heads = size_of_any(config, {"n_head", "num_attention_heads"});
  dims.num_key_value_heads = dims.num_attention_heads;
  dims.head_dim = dims.hidden_size / dims.num_attention_heads;
  dims.vocab_size = config.size("vocab_size");
  dims.max_position_embeddings = config.size("seq_length", 2048);  // trained with; more is possible
  require_sane(config, dims, "n_layer", "n_head");
  if (dims.head_dim * dims.num_attention_heads != dims.hidden_size) {
    throw config.error("n_head", str_cat("does not divide hidden_size = ", dims.hidden_size));
  }
  const std::int64_t hidden = dims.hidden_size;
  const NormSpec norm{.kind = NormSpec::Kind::kLayer,
                      .width = hidden,
                      .eps = read_eps(config, "layer_norm_epsilon", 1e-5)};

  DecoderSpec spec;
  spec.tree.root = {
      .class_name = "BloomForCausalLM",
      .children = {
          {"transformer",
           Module{.class_name = "BloomModel",
                  .children = {{"word_embeddings", embedding_module(dims.vocab_size, hidden)},
                               {"word_embeddings_layernorm", layer_norm_module(hidden)},
                               {"h", module_list(block(hidden), dims.num_hidden_layers)},
                               {"ln_f", layer_norm_module(hidden)}}}},
          {"lm_head", linear_module(dims.vocab_size, hidden, false)}}};
  if (config.boolean("tie_word_embeddings", true)) {
    spec.tree.ties = {{"transformer.word_embeddings.weight", "lm_head.weight"}};
  }
  spec.tree.no_split_module_classes = {"BloomBlock"};
  spec.base_model_prefix = "transformer";
  spec.hidden_size = spec.embedding_size = hidden;
  spec.vocab_size = dims.vocab_size;
  spec.max_position_embeddings = dims.max_position_embeddings;
  spec.embed_tokens = "transformer.word_embeddings";
  spec.embedding_norm = norm.named("transformer.word_embeddings_layernorm", hidden);
  spec.layers = "transformer.h";
  spec.final_norm = norm.named("transformer.ln_f", hidden);
  spec.attention = {.heads = dims.num_attention_heads,
                    .kv_heads = dims.num_attention_heads,
                    .head_dim = dims.head_dim,
                    .qkv = "self_attention.query_key_value",
                    .qkv_groups = dims.num_attention_heads,
                    .o = "self_attention.dense",
                    .alibi_slopes = alibi_slopes(dims.num_attention_heads)};
  spec.attention_layers.assign(
      static_cast<std::size_t>(dims.num_hidden_layers),
      {.rotary = AttentionLayer::kNoRotary, .scale = usual_scale(dims.head_dim)});
  spec.mlp = {.intermediate_size = 4 * hidden,
              .activation = Activation::kGeluTanh,
              .up = "mlp.dense_h_to_4h",
              .down = "mlp.dense_4h_to_h"};
  spec.norms.pre_attention = norm.named("input_layernorm", hidden);
  spec.norms.pre_mlp = norm.named("post_attention_layernorm", hidden);
  spec.adds_to_normed = config.boolean("apply_residual_connection_post_layernorm", false);
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
