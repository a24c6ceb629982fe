// GPT-J (Wang and Komatsuzaki, 2021): attention and mlp side by side from one layer norm, the first
// rotary_dim entries of each head rotated in interleaved pairs. Mirrors transformers'
// GPTJForCausalLM.
#include <utility>

#include "base/str_cat.h"
#include "model/architectures.h"
#include "model/config_parts.h"
#include "model/decoder.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

Module block(std::int64_t hidden, std::int64_t inner, const std::string& act) {
  Module attention{.class_name = "GPTJAttention",
                   .children = {{"k_proj", linear_module(hidden, hidden, false)},
                                {"v_proj", linear_module(hidden, hidden, false)},
                                {"q_proj", linear_module(hidden, hidden, false)},
                                {"out_proj", linear_module(hidden, hidden, false)},
                                {"resid_dropout", plain_module("Dropout")}}};
  Module mlp{.class_name = "GPTJMLP",
             .children = {{"fc_in", linear_module(inner, hidden, true)},
                          {"fc_out", linear_module(hidden, inner, true)},
                          {"act", plain_module(act)},
                          {"dropout", plain_module("Dropout")}}};
  return {.class_name = "GPTJBlock",
          .children = {{"ln_1", layer_norm_module(hidden)},
                       {"attn", std::move(attention)},
                       {"mlp", std::move(mlp)}}};
}

}  // namespace

std::unique_ptr<const Architecture> make_gptj(const Config& config) {
  DecoderDims dims;
  dims.hidden_size = size_of_any(config, {"n_embd", "hidden_size"});
  dims.num_hidden_layers = size_of_any(config, {"n_layer", "num_hidden_layers"});
  dims.num_attention_heads = size_of_any(config, {"n_head", "num_attention_heads"});
  dims.num_key_value_heads = dims.num_attention_heads;
  dims.head_dim = dims.hidden_size / dims.num_attention_heads;
  dims.vocab_size = config.size("vocab_size");
  dims.max_position_embeddings =
      config.size("n_positions", config.size("max_position_embeddings", 2048));
  require_sane(config, dims, "n_layer", "n_head");
  if (dims.head_dim * dims.num_attention_heads != dims.hidden_size) {
    throw config.error("n_head", str_cat("does not divide n_embd = ", dims.hidden_size));
  }
  const std::int64_t rotary_dim = config.size("rotary_dim", 64);
  if (rotary_dim % 2 != 0 || rotary_dim > dims.head_dim) {
    throw config.error("rotary_dim", str_cat("is ", rotary_dim, "; expected an even number up to ",
                                             dims.head_dim, ", the width of a head"));
  }
  const std::int64_t hidden = dims.hidden_size;
  const std::int64_t inner = config.size("n_inner", 4 * hidden);
  const ActivationConfig act = read_activation(config, "activation_function", "gelu_new");
  const NormSpec norm{.kind = NormSpec::Kind::kLayer,
                      .width = hidden,
                      .eps = read_eps(config, "layer_norm_epsilon", 1e-5)};

  DecoderSpec spec;
  Module rotary{.class_name = "GPTJRotaryEmbedding",
                .buffers = {{"embed_positions", Shape{dims.max_position_embeddings, rotary_dim},
                             DType::kF32, false}}};
  spec.tree.root = {
      .class_name = "GPTJForCausalLM",
      .children = {
          {"transformer",
           Module{.class_name = "GPTJModel",
                  .children = {{"wte", embedding_module(dims.vocab_size, hidden)},
                               {"drop", plain_module("Dropout")},
                               {"h", module_list(block(hidden, inner, activation_class(act.name)),
                                                 dims.num_hidden_layers)},
                               {"ln_f", layer_norm_module(hidden)},
                               {"rotary_emb", std::move(rotary)}}}},
          {"lm_head", linear_module(dims.vocab_size, hidden, true)}}};
  if (config.boolean("tie_word_embeddings", false)) {
    spec.tree.ties = {{"transformer.wte.weight", "lm_head.weight"}};
  }
  spec.tree.no_split_module_classes = {"GPTJBlock"};
  spec.base_model_prefix = "transformer";
  spec.hidden_size = spec.embedding_size = hidden;
  spec.vocab_size = dims.vocab_size;
  spec.max_position_embeddings = dims.max_position_embeddings;
  spec.embed_tokens = "transformer.wte";
  spec.layers = "transformer.h";
  spec.final_norm = norm.named("transformer.ln_f", hidden);
  spec.attention = {.heads = dims.num_attention_heads,
                    .kv_heads = dims.num_attention_heads,
                    .head_dim = dims.head_dim,
                    .pairs = RotaryPairs::kInterleaved,
                    .q = "attn.q_proj",
                    .k = "attn.k_proj",
                    .v = "attn.v_proj",
                    .o = "attn.out_proj"};
  spec.attention_layers.assign(static_cast<std::size_t>(dims.num_hidden_layers),
                               {.scale = usual_scale(dims.head_dim)});
  spec.rotary.emplace_back(RopeConfig{}, rotary_dim);
  spec.mlp = {.intermediate_size = inner,
              .activation = act.activation,
              .up = "mlp.fc_in",
              .down = "mlp.fc_out"};
  spec.norms.pre_attention = norm.named("ln_1", hidden);
  spec.is_parallel = true;
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
