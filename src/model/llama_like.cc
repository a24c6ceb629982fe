#include "model/llama_like.h"

#include <utility>

#include "model/tree_parts.h"

namespace shoehorn {
namespace {

using Children = std::vector<std::pair<std::string, Module>>;

Module norm(const LlamaLike& m) {
  if (m.norm_class.empty()) return layer_norm_module(m.dims.hidden_size);
  return norm_module(m.norm_class, m.dims.hidden_size);
}

Module attention(const LlamaLike& m) {
  const std::int64_t hidden = m.dims.hidden_size;
  const std::int64_t q = m.dims.num_attention_heads * m.dims.head_dim;
  const std::int64_t kv = m.dims.num_key_value_heads * m.dims.head_dim;
  Module module{.class_name = m.prefix + "Attention"};
  Children& children = module.children;
  if (m.has_fused_qkv) {
    children.emplace_back(m.o_proj, linear_module(hidden, q, m.o_bias));
    children.emplace_back("qkv_proj", linear_module(q + 2 * kv, hidden, m.qkv_bias));
  } else {
    children.emplace_back("q_proj", linear_module(q, hidden, m.qkv_bias));
    children.emplace_back("k_proj", linear_module(kv, hidden, m.qkv_bias));
    children.emplace_back("v_proj", linear_module(kv, hidden, m.qkv_bias));
    children.emplace_back(m.o_proj, linear_module(hidden, q, m.o_bias));
  }
  children.insert(children.end(), m.attention_extras.begin(), m.attention_extras.end());
  return module;
}

Module mlp(const LlamaLike& m) {
  const std::int64_t hidden = m.dims.hidden_size;
  const std::int64_t inner = m.intermediate_size;
  Module module{.class_name = m.prefix + "MLP"};
  Children& children = module.children;
  switch (m.mlp) {
    case LlamaLike::Mlp::kGated:
      children.emplace_back("gate_proj", linear_module(inner, hidden, m.mlp_bias));
      children.emplace_back("up_proj", linear_module(inner, hidden, m.mlp_bias));
      children.emplace_back("down_proj", linear_module(hidden, inner, m.mlp_bias));
      break;
    case LlamaLike::Mlp::kFusedGate:
      children.emplace_back("gate_up_proj", linear_module(2 * inner, hidden, m.mlp_bias));
      children.emplace_back("down_proj", linear_module(hidden, inner, m.mlp_bias));
      break;
    case LlamaLike::Mlp::kPlain:
      children.emplace_back(m.first, linear_module(inner, hidden, m.mlp_bias));
      children.emplace_back(m.second, linear_module(hidden, inner, m.mlp_bias));
      break;
  }
  Module act = plain_module(activation_class(m.activation.name));
  children.emplace(m.is_act_first ? children.begin() : children.end(), m.act_name, std::move(act));
  return module;
}

Module decoder_layer(const LlamaLike& m) {
  Module module{.class_name = m.prefix + "DecoderLayer",
                .children = {{"self_attn", attention(m)}, {"mlp", mlp(m)}}};
  for (const auto& [name, place] : m.layer_norms) module.children.emplace_back(name, norm(m));
  module.children.insert(module.children.end(), m.layer_extras.begin(), m.layer_extras.end());
  return module;
}

ModuleTree tree_of(const LlamaLike& m) {
  Module model{.class_name = m.prefix + "Model"};
  model.children.emplace_back("embed_tokens",
                              embedding_module(m.dims.vocab_size, m.dims.hidden_size));
  model.children.emplace_back("layers", module_list(decoder_layer(m), m.dims.num_hidden_layers));
  model.children.emplace_back(m.final_norm, norm(m));
  const std::int64_t half = m.rotary.empty() ? 0 : m.rotary.front().rotary_dim() / 2;
  model.children.emplace_back("rotary_emb", rotary_module(m.prefix + "RotaryEmbedding", half));
  ModuleTree tree;
  tree.root = {.class_name = m.prefix + "ForCausalLM"};
  tree.root.children.emplace_back("model", std::move(model));
  tree.root.children.emplace_back(
      "lm_head", linear_module(m.dims.vocab_size, m.dims.hidden_size, m.head_bias));
  if (m.tie_word_embeddings) tree.ties = {{"model.embed_tokens.weight", "lm_head.weight"}};
  tree.no_split_module_classes = {m.prefix + "DecoderLayer"};
  return tree;
}

AttentionSpec attention_spec(const LlamaLike& m) {
  AttentionSpec spec{.heads = m.dims.num_attention_heads,
                     .kv_heads = m.dims.num_key_value_heads,
                     .head_dim = m.dims.head_dim,
                     .softcap = m.softcap,
                     .pairs = m.pairs};
  if (m.has_fused_qkv) {
    spec.qkv = "self_attn.qkv_proj";
  } else {
    spec.q = "self_attn.q_proj";
    spec.k = "self_attn.k_proj";
    spec.v = "self_attn.v_proj";
  }
  spec.o = "self_attn." + m.o_proj;
  spec.q_norm = m.q_norm;
  spec.k_norm = m.k_norm;
  return spec;
}

MlpSpec mlp_spec(const LlamaLike& m) {
  MlpSpec spec{.intermediate_size = m.intermediate_size, .activation = m.activation.activation};
  switch (m.mlp) {
    case LlamaLike::Mlp::kGated:
      spec.gate = "mlp.gate_proj";
      spec.up = "mlp.up_proj";
      spec.down = "mlp.down_proj";
      break;
    case LlamaLike::Mlp::kFusedGate:
      spec.gate_up = "mlp.gate_up_proj";
      spec.down = "mlp.down_proj";
      break;
    case LlamaLike::Mlp::kPlain:
      spec.up = "mlp." + m.first;
      spec.down = "mlp." + m.second;
      break;
  }
  return spec;
}

}  // namespace

DecoderSpec llama_like(const LlamaLike& m) {
  DecoderSpec spec;
  spec.tree = tree_of(m);
  spec.base_model_prefix = "model";
  spec.hidden_size = m.dims.hidden_size;
  spec.embedding_size = m.dims.hidden_size;
  spec.vocab_size = m.dims.vocab_size;
  spec.max_position_embeddings = m.dims.max_position_embeddings;
  spec.embed_tokens = "model.embed_tokens";
  spec.layers = "model.layers";
  spec.final_norm = m.norm.named("model." + m.final_norm, m.dims.hidden_size);
  spec.attention = attention_spec(m);
  spec.attention_layers = m.layers.empty() ? usual_layers(m.dims) : m.layers;
  spec.rotary = m.rotary;
  spec.mlp = mlp_spec(m);
  for (const auto& [name, place] : m.layer_norms) {
    const NormSpec norm = m.norm.named(name, m.dims.hidden_size);
    switch (place) {
      case NormPlace::kPreAttention: spec.norms.pre_attention = norm; break;
      case NormPlace::kPostAttention: spec.norms.post_attention = norm; break;
      case NormPlace::kPreMlp: spec.norms.pre_mlp = norm; break;
      case NormPlace::kPostMlp: spec.norms.post_mlp = norm; break;
    }
  }
  return spec;
}

std::vector<AttentionLayer> usual_layers(const DecoderDims& dims) {
  return std::vector<AttentionLayer>(static_cast<std::size_t>(dims.num_hidden_layers),
                                     AttentionLayer{.scale = usual_scale(dims.head_dim)});
}

std::vector<AttentionLayer> windowed_layers(const DecoderDims& dims,
                                            const std::vector<bool>& sliding, std::int64_t window) {
  std::vector<AttentionLayer> layers = usual_layers(dims);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (sliding[i]) layers[i].sliding_window = window;
  }
  return layers;
}

}  // namespace shoehorn
