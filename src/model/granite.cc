// Granite 3 (IBM): Llama with multipliers on embeddings, scores, residuals and logits. Mirrors
// transformers' GraniteForCausalLM.
#include <utility>

#include "base/str_cat.h"
#include "model/architectures.h"
#include "model/llama_like.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_granite(const Config& config) {
  LlamaLike m{.prefix = "Granite", .dims = read_dims(config)};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  m.norm.eps = read_eps(config, "rms_norm_eps", 1e-6);
  m.norm_class = "GraniteRMSNorm";
  m.qkv_bias = m.o_bias = config.boolean("attention_bias", false);
  m.mlp_bias = config.boolean("mlp_bias", false);
  m.rotary = {read_rotary(config, m.dims, 10000)};
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  m.layers = usual_layers(m.dims);
  const auto scale = static_cast<float>(config.number("attention_multiplier", 1));
  for (AttentionLayer& layer : m.layers) layer.scale = scale;
  DecoderSpec spec = llama_like(m);
  spec.embedding_multiplier = static_cast<float>(config.number("embedding_multiplier", 1));
  spec.residual_multiplier = static_cast<float>(config.number("residual_multiplier", 1));
  const double divisor = config.number("logits_scaling", 1);
  if (divisor == 0) throw config.error("logits_scaling", "is 0, and logits are divided by it");
  spec.logits_multiplier = static_cast<float>(1 / divisor);
  return make_decoder(std::move(spec));
}

}  // namespace shoehorn
