#include "model/mixtral.h"

#include "model/experts_part.h"
#include "model/grouped_attention.h"
#include "model/parted_decoder.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_mixtral(const Config& config) {
  require_silu(config);
  PartedDecoderConfig c = parse_decoder_config(config, "Mixtral", 1e-5);
  GroupedAttentionConfig attention =
      parse_grouped_attention(config, c, {.default_key_value_heads = 8});
  attention.bias = false;  // whatever a config says of attention_bias
  ExpertsConfig experts{.block_class = "MixtralSparseMoeBlock",
                        .router_class = "MixtralTopKRouter",
                        .class_prefix = "Mixtral",
                        .router_first = true,
                        .hidden_size = c.hidden_size,
                        .intermediate_size = config.size("intermediate_size")};
  experts.rule = {.experts = config.size("num_local_experts", 8),
                  .chosen = config.size("num_experts_per_tok", 2),
                  .normalize = true};
  experts.stored_block = "block_sparse_moe";
  experts.gate_up_parts = {".w1.weight", ".w3.weight"};
  experts.down_part = ".w2.weight";
  c.stored_infix = {".mlp.gate.", ".block_sparse_moe.gate."};
  c.rope = parse_rope_config(config, 1e6, c.max_position_embeddings);
  c.rotary_dim = attention.head_dim;
  c.kv = {attention.num_key_value_heads, attention.head_dim};
  const PartedLayer layer{make_grouped_attention(attention), make_experts(experts, config)};
  c.layers.assign(static_cast<std::size_t>(layer_count(config)), layer);
  return make_parted_decoder(std::move(c));
}

}  // namespace shoehorn
