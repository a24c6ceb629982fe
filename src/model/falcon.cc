// Falcon (arXiv:2311.16867) in its three layouts: 7B with one key-value head and one norm for
// attention and mlp side by side; 40B, 180B and Falcon2 11B with groups of queries; RefinedWeb 1B
// and 7B with linear biases and one block after the other. Mirrors transformers' FalconForCausalLM.
#include <utility>

#include "base/str_cat.h"
#include "model/architectures.h"
#include "model/config_parts.h"
#include "model/decoder.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

struct FalconConfig {
  DecoderDims dims;
  std::int64_t inner = 0;
  bool bias = false;
  bool alibi = false;
  bool is_new = false;       // queries in groups, each with its key and value
  bool is_parallel = false;  // attention and mlp from one x
  bool has_two_norms = false;
  std::int64_t qkv_groups = 1;
  ActivationConfig act;
};

FalconConfig parse(const Config& config) {
  FalconConfig c;
  c.dims = read_dims(config);
  DecoderDims& dims = c.dims;
  dims.head_dim = dims.hidden_size / dims.num_attention_heads;
  if (dims.head_dim * dims.num_attention_heads != dims.hidden_size) {
    throw config.error("num_attention_heads",
                       str_cat("does not divide hidden_size = ", dims.hidden_size));
  }
  c.inner = config.size("ffn_hidden_size", 4 * dims.hidden_size);
  c.bias = config.boolean("bias", false);
  c.alibi = config.boolean("alibi", false);
  c.is_new = config.boolean("new_decoder_architecture", false);
  c.is_parallel = c.is_new || config.boolean("parallel_attn", true);
  c.has_two_norms = c.is_new && config.integer("num_ln_in_parallel_attn", 2) == 2;
  c.act = read_activation(config, "activation", "gelu");
  if (c.is_new) {
    dims.num_key_value_heads = config.size("num_kv_heads", dims.num_attention_heads);
    if (dims.num_attention_heads % dims.num_key_value_heads != 0) {
      throw config.error("num_kv_heads", str_cat("does not divide num_attention_heads = ",
                                                 dims.num_attention_heads));
    }
    c.qkv_groups = dims.num_key_value_heads;
  } else if (config.boolean("multi_query", true)) {
    dims.num_key_value_heads = 1;
  } else {
    dims.num_key_value_heads = dims.num_attention_heads;
    c.qkv_groups = dims.num_attention_heads;
  }
  return c;
}

Module layer(const FalconConfig& c) {
  const std::int64_t hidden = c.dims.hidden_size;
  const auto linear = [&](std::int64_t out, std::int64_t in) {
    return linear_module(out, in, c.bias, "FalconLinear");
  };
  const std::int64_t qkv = hidden + 2 * c.dims.num_key_value_heads * c.dims.head_dim;
  Module attention{.class_name = "FalconAttention",
                   .children = {{"query_key_value", linear(qkv, hidden)},
                                {"dense", linear(hidden, hidden)},
                                {"attention_dropout", plain_module("Dropout")}}};
  Module mlp{.class_name = "FalconMLP",
             .children = {{"dense_h_to_4h", linear(c.inner, hidden)},
                          {"act", plain_module(activation_class(c.act.name))},
                          {"dense_4h_to_h", linear(hidden, c.inner)}}};
  Module module{.class_name = "FalconDecoderLayer",
                .children = {{"self_attention", std::move(attention)}, {"mlp", std::move(mlp)}}};
  const auto add_norm = [&](const char* name) {
    module.children.emplace_back(name, layer_norm_module(hidden));
  };
  if (c.has_two_norms) {
    add_norm("ln_attn");
    add_norm("ln_mlp");
    return module;
  }
  if (!c.is_parallel) add_norm("post_attention_layernorm");
  add_norm("input_layernorm");
  return module;
}

}  // namespace

std::unique_ptr<const Architecture> make_falcon(const Config& config) {
  const FalconConfig c = parse(config);
  const DecoderDims& dims = c.dims;
  const std::int64_t hidden = dims.hidden_size;
  const NormSpec norm{.kind = NormSpec::Kind::kLayer,
                      .width = hidden,
                      .eps = read_eps(config, "layer_norm_epsilon", 1e-5)};

  DecoderSpec spec;
  if (!c.alibi) spec.rotary = {read_rotary(config, dims, 10000)};
  spec.tree.root = {
      .class_name = "FalconForCausalLM",
      .children = {
          {"transformer",
           Module{.class_name = "FalconModel",
                  .children = {{"word_embeddings", embedding_module(dims.vocab_size, hidden)},
                               {"h", module_list(layer(c), dims.num_hidden_layers)},
                               {"ln_f", layer_norm_module(hidden)},
                               {"rotary_emb",
                                rotary_module("FalconRotaryEmbedding", dims.head_dim / 2)}}}},
          {"lm_head", linear_module(dims.vocab_size, hidden, false)}}};
  if (config.boolean("tie_word_embeddings", true)) {
    spec.tree.ties = {{"transformer.word_embeddings.weight", "lm_head.weight"}};
  }
  spec.tree.no_split_module_classes = {"FalconDecoderLayer"};
  spec.base_model_prefix = "transformer";
  spec.hidden_size = spec.embedding_size = hidden;
  spec.vocab_size = dims.vocab_size;
  spec.max_position_embeddings = dims.max_position_embeddings;
  spec.embed_tokens = "transformer.word_embeddings";
  spec.layers = "transformer.h";
  spec.final_norm = norm.named("transformer.ln_f", hidden);
  spec.attention = {.heads = dims.num_attention_heads,
                    .kv_heads = dims.num_key_value_heads,
                    .head_dim = dims.head_dim,
                    .qkv = "self_attention.query_key_value",
                    .qkv_groups = c.qkv_groups,
                    .o = "self_attention.dense"};
  const float scale = usual_scale(dims.head_dim);
  if (c.alibi) {
    // The bias is divided with the scores, and was made in bfloat16 whatever the model's type.
    spec.attention.alibi_slopes = alibi_slopes(dims.num_attention_heads);
    spec.attention.alibi_scale = scale;
    spec.attention.alibi_in_bf16 = true;
  }
  spec.attention_layers.assign(static_cast<std::size_t>(dims.num_hidden_layers),
                               {.rotary = c.alibi ? AttentionLayer::kNoRotary : 0, .scale = scale});
  spec.mlp = {.intermediate_size = c.inner,
              .activation = c.act.activation,
              .up = "mlp.dense_h_to_4h",
              .down = "mlp.dense_4h_to_h"};
  spec.norms.pre_attention = norm.named(c.has_two_norms ? "ln_attn" : "input_layernorm", hidden);
  if (c.has_two_norms) spec.norms.pre_mlp = norm.named("ln_mlp", hidden);
  if (!c.is_parallel) spec.norms.pre_mlp = norm.named("post_attention_layernorm", hidden);
  spec.is_parallel = c.is_parallel;
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
