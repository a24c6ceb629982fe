// GLM-4 (arXiv:2406.12793): Llama with a norm before and one after each block, gate and up in one
// matrix, the first half of each head rotated in interleaved pairs. Mirrors transformers'
// Glm4ForCausalLM.
#include "model/architectures.h"
#include "model/llama_like.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_glm4(const Config& config) {
  LlamaLike m{
      .prefix = "Glm4",
      .dims = read_dims(
          config, {.num_key_value_heads = 2, .head_dim = 128, .max_position_embeddings = 131072})};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  m.norm.eps = read_eps(config, "rms_norm_eps", 1.5625e-7);
  m.norm_class = "Glm4RMSNorm";
  m.layer_norms = {{"input_layernorm", NormPlace::kPreAttention},
                   {"post_attention_layernorm", NormPlace::kPreMlp},
                   {"post_self_attn_layernorm", NormPlace::kPostAttention},
                   {"post_mlp_layernorm", NormPlace::kPostMlp}};
  m.qkv_bias = config.boolean("attention_bias", true);
  m.pairs = RotaryPairs::kInterleaved;
  m.rotary = {read_rotary(config, m.dims,
                          {.partial_rotary_factor = 0.5, .odd_turns_one_more = true},
                          /*is_partial=*/true)};
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "silu");
  m.mlp = LlamaLike::Mlp::kFusedGate;
  m.act_name = "activation_fn";
  return make_decoder(llama_like(m));
}

}  // namespace shoehorn
