#include "model/qwen3_moe.h"

#include <algorithm>

#include "model/experts_part.h"
#include "model/grouped_attention.h"
#include "model/mlp_part.h"
#include "model/parted_decoder.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_qwen3_moe(const Config& config) {
  require_silu(config);
  PartedDecoderConfig c = parse_decoder_config(config, "Qwen3Moe", 1e-6);
  GroupedAttentionConfig attention =
      parse_grouped_attention(config, c, {.default_key_value_heads = 4});
  attention.qk_norm = true;
  if (!config.boolean("use_sliding_window", false)) attention.sliding_window = 0;
  ExpertsConfig experts{.block_class = "Qwen3MoeSparseMoeBlock",
                        .router_class = "Qwen3MoeTopKRouter",
                        .class_prefix = "Qwen3Moe",
                        .hidden_size = c.hidden_size,
                        .intermediate_size = config.size("moe_intermediate_size", 768)};
  // transformers 5 writes num_local_experts for what released files call num_experts.
  experts.rule = {.experts = config.has("num_experts") ? config.size("num_experts")
                                                       : config.size("num_local_experts", 128),
                  .chosen = config.size("num_experts_per_tok", 8),
                  .normalize = config.boolean("norm_topk_prob", false)};
  c.rope = parse_rope_config(config, 10000, c.max_position_embeddings);
  c.rotary_dim = attention.head_dim;
  c.kv = {attention.num_key_value_heads, attention.head_dim};

  const std::shared_ptr<const LayerPart> attends = make_grouped_attention(attention);
  const auto sparse = make_experts(experts, config);
  const std::shared_ptr<const LayerPart> dense =
      make_mlp({.class_name = "Qwen3MoeMLP",
                .hidden_size = c.hidden_size,
                .intermediate_size = config.size("intermediate_size", 6144)});
  const std::vector<std::int64_t> dense_layers = config.integers("mlp_only_layers");
  const std::int64_t step = config.size("decoder_sparse_step", 1);
  for (std::int64_t i = 0; i < layer_count(config); ++i) {
    const bool listed = std::ranges::find(dense_layers, i) != dense_layers.end();
    c.layers.push_back({attends, listed || (i + 1) % step != 0 ? dense : sparse});
  }
  return make_parted_decoder(std::move(c));
}

}  // namespace shoehorn
