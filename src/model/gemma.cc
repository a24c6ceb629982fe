// Gemma 1, 2 and 3, the text models (arXiv:2403.08295, 2408.00118, 2503.19786): embeddings scaled
// by the root of their width, norms whose weights are stored less 1, a gate of tanh gelu. Mirrors
// transformers' GemmaForCausalLM, Gemma2ForCausalLM and Gemma3ForCausalLM.
#include <algorithm>
#include <cmath>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "model/architectures.h"
#include "model/llama_like.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

LlamaLike gemma(const Config& config, std::string prefix, const DimDefaults& defaults) {
  LlamaLike m{.prefix = std::move(prefix), .dims = read_dims(config, defaults)};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", true);
  m.norm.eps = read_eps(config, "rms_norm_eps", 1e-6);
  // GGUF files have the 1 added.
  m.norm.weight_offset = config.boolean("norm_weights_include_one", false) ? 0.0F : 1.0F;
  m.norm_class = m.prefix + "RMSNorm";
  m.qkv_bias = m.o_bias = config.boolean("attention_bias", false);
  m.intermediate_size = config.size("intermediate_size");
  if (config.boolean("use_bidirectional_attention", false)) {
    throw UnsupportedError(str_cat(config.path().string(),
                                   ": use_bidirectional_attention is true; shoehorn runs decoders, "
                                   "whose tokens see those before them alone"));
  }
  return m;
}

/// Gemma 2 and 3 have a norm before and one after each block.
const std::vector<std::pair<std::string, NormPlace>> kFourNorms = {
    {"input_layernorm", NormPlace::kPreAttention},
    {"post_attention_layernorm", NormPlace::kPostAttention},
    {"pre_feedforward_layernorm", NormPlace::kPreMlp},
    {"post_feedforward_layernorm", NormPlace::kPostMlp}};

float attention_scale(const Config& config) {
  const double scalar = config.number("query_pre_attn_scalar", 256);
  if (!(scalar > 0)) {
    throw config.error("query_pre_attn_scalar", str_cat("must be positive, is ", scalar));
  }
  return static_cast<float>(1 / std::sqrt(scalar));
}

float soft_cap_of(const Config& config, std::string_view key, std::optional<double> absent) {
  const auto cap = absent ? number_or_null(config, key, *absent) : config.find_number(key);
  if (cap && !(*cap > 0)) throw config.error(key, str_cat("must be positive, is ", *cap));
  return static_cast<float>(cap.value_or(0));
}

/// The child of the model that is `name`.
Module& model_child(DecoderSpec& spec, std::string_view name) {
  for (auto& [child_name, child] : spec.tree.root.children.front().second.children) {
    if (child_name == name) return child;
  }
  throw ArgumentError(str_cat("no module ", name));
}

DecoderSpec scaled(const LlamaLike& m) {
  DecoderSpec spec = llama_like(m);
  spec.embedding_multiplier = std::sqrt(static_cast<float>(m.dims.hidden_size));
  Module& embedding = model_child(spec, "embed_tokens");
  embedding.class_name = m.prefix + "TextScaledWordEmbedding";
  embedding.buffers = {{"embed_scale", Shape{}, DType::kF32, false}};
  return spec;
}

}  // namespace

std::unique_ptr<const Architecture> make_gemma(const Config& config) {
  LlamaLike m =
      gemma(config, "Gemma",
            {.num_key_value_heads = 16, .head_dim = 256, .max_position_embeddings = 8192});
  // Released files say "gelu" where the tanh form is meant.
  m.activation = read_activation(config, "hidden_act", "gelu_pytorch_tanh");
  if (m.activation.name == "gelu") m.activation = {Activation::kGeluTanh, "gelu_pytorch_tanh"};
  m.rotary = {read_rotary(config, m.dims, 10000)};
  return make_decoder(scaled(m));
}

std::unique_ptr<const Architecture> make_gemma2(const Config& config) {
  LlamaLike m = gemma(config, "Gemma2",
                      {.num_key_value_heads = 4, .head_dim = 256, .max_position_embeddings = 8192});
  m.activation = read_activation(config, "hidden_activation", "gelu_pytorch_tanh");
  m.layer_norms = kFourNorms;
  m.rotary = {read_rotary(config, m.dims, 10000)};
  m.softcap = soft_cap_of(config, "attn_logit_softcapping", 50);
  const auto sliding = read_sliding_layers(config, m.dims.num_hidden_layers,
                                           [](std::int64_t layer) { return layer % 2 == 0; });
  m.layers =
      windowed_layers(m.dims, sliding, size_or_null(config, "sliding_window", 4096).value_or(0));
  for (AttentionLayer& layer : m.layers) layer.scale = attention_scale(config);
  DecoderSpec spec = scaled(m);
  spec.logits_softcap = soft_cap_of(config, "final_logit_softcapping", 30);
  return make_decoder(std::move(spec));
}

namespace {

/// Layers with a window turn by other angles than the full ones.
std::vector<RotaryEmbedding> gemma3_rotary(const Config& config, const DecoderDims& dims) {
  const RopeDefaults full{.rope_theta = 1e6};
  const RopeDefaults local{.rope_theta = 10000, .theta_key = "rope_local_base_freq"};
  const std::int64_t most = dims.max_position_embeddings;
  const auto both = config.find_child("rope_parameters");
  const bool is_split = both && (both->has("full_attention") || both->has("sliding_attention"));
  if (is_split && !config.has("rope_scaling")) {
    return {
        RotaryEmbedding(parse_rope_settings(config, both->find_child("full_attention"), full, most),
                        dims.head_dim),
        RotaryEmbedding(
            parse_rope_settings(config, both->find_child("sliding_attention"), local, most),
            dims.head_dim)};
  }
  return {RotaryEmbedding(parse_rope_config(config, full, most), dims.head_dim),
          RotaryEmbedding(parse_rope_settings(config, std::nullopt, local, most), dims.head_dim)};
}

}  // namespace

std::unique_ptr<const Architecture> make_gemma3_text(const Config& config) {
  LlamaLike m =
      gemma(config, "Gemma3",
            {.num_key_value_heads = 4, .head_dim = 256, .max_position_embeddings = 131072});
  m.activation = read_activation(config, "hidden_activation", "gelu_pytorch_tanh");
  m.layer_norms = kFourNorms;
  m.q_norm = m.norm.named("self_attn.q_norm", m.dims.head_dim);
  m.k_norm = m.norm.named("self_attn.k_norm", m.dims.head_dim);
  m.attention_extras = {{"q_norm", norm_module(m.norm_class, m.dims.head_dim)},
                        {"k_norm", norm_module(m.norm_class, m.dims.head_dim)}};
  if (m.dims.head_dim % 2 != 0) throw config.error("head_dim", "must be even for rotary positions");
  m.rotary = gemma3_rotary(config, m.dims);
  const std::int64_t pattern =
      config.size("sliding_window_pattern", config.size("_sliding_window_pattern", 6));
  const auto sliding =
      read_sliding_layers(config, m.dims.num_hidden_layers,
                          [pattern](std::int64_t layer) { return (layer + 1) % pattern != 0; });
  m.layers =
      windowed_layers(m.dims, sliding, size_or_null(config, "sliding_window", 4096).value_or(0));
  for (std::size_t i = 0; i < m.layers.size(); ++i) {
    m.layers[i].scale = attention_scale(config);
    m.layers[i].rotary = sliding[i] ? 1 : 0;
  }
  DecoderSpec spec = scaled(m);
  spec.logits_softcap = soft_cap_of(config, "final_logit_softcapping", std::nullopt);
  spec.tree.root.children.front().second.class_name = "Gemma3TextModel";
  Module& rotary = model_child(spec, "rotary_emb");
  rotary.buffers.clear();
  const Shape half{m.dims.head_dim / 2};
  for (const char* type : {"full_attention", "sliding_attention"}) {
    const bool is_used = std::ranges::find(sliding, type[0] == 's') != sliding.end();
    if (!is_used) continue;
    rotary.buffers.push_back({std::string(type) + "_inv_freq", half, DType::kF32, false});
    rotary.buffers.push_back({std::string(type) + "_original_inv_freq", half, DType::kF32, false});
  }
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
