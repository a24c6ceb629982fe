// Qwen2 (arXiv:2407.10671): Llama with biases on queries, keys and values. Qwen3
// (arXiv:2505.09388): without them, but with norms of each head of queries and keys. Mirrors
// transformers' Qwen2ForCausalLM and Qwen3ForCausalLM.
#include "model/architectures.h"
#include "model/llama_like.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

/// A window from layer max_window_layers on, or where layer_types says, if use_sliding_window.
std::vector<AttentionLayer> qwen_layers(const Config& config, const DecoderDims& dims) {
  if (!config.boolean("use_sliding_window", false)) return usual_layers(dims);
  const auto window = size_or_null(config, "sliding_window", 4096);
  if (!window) return usual_layers(dims);
  const std::int64_t full = config.integer("max_window_layers", 28);
  const auto sliding = read_sliding_layers(config, dims.num_hidden_layers,
                                           [full](std::int64_t layer) { return layer >= full; });
  return windowed_layers(dims, sliding, *window);
}

LlamaLike qwen(const Config& config, std::string prefix, const DimDefaults& defaults) {
  LlamaLike m{.prefix = std::move(prefix), .dims = read_dims(config, defaults)};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  m.norm.eps = read_eps(config, "rms_norm_eps", 1e-6);
  m.norm_class = m.prefix + "RMSNorm";
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  m.rotary = {read_rotary(config, m.dims, 10000)};
  m.layers = qwen_layers(config, m.dims);
  return m;
}

}  // namespace

std::unique_ptr<const Architecture> make_qwen2(const Config& config) {
  LlamaLike m =
      qwen(config, "Qwen2", {.num_key_value_heads = 32, .max_position_embeddings = 32768});
  m.qkv_bias = true;
  return make_decoder(llama_like(m));
}

std::unique_ptr<const Architecture> make_qwen3(const Config& config) {
  LlamaLike m =
      qwen(config, "Qwen3",
           {.num_key_value_heads = 32, .head_dim = 128, .max_position_embeddings = 32768});
  m.qkv_bias = m.o_bias = config.boolean("attention_bias", false);
  m.q_norm = m.norm.named("self_attn.q_norm", m.dims.head_dim);
  m.k_norm = m.norm.named("self_attn.k_norm", m.dims.head_dim);
  m.attention_extras = {{"q_norm", norm_module(m.norm_class, m.dims.head_dim)},
                        {"k_norm", norm_module(m.norm_class, m.dims.head_dim)}};
  return make_decoder(llama_like(m));
}

}  // namespace shoehorn
