#include "model/deepseek_v3.h"

#include <algorithm>
#include <cmath>

#include "base/str_cat.h"
#include "model/experts_part.h"
#include "model/latent_attention.h"
#include "model/mlp_part.h"
#include "model/parted_decoder.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kMostHeadDim = 8192;
constexpr std::int64_t kMostNextLayers = 16;

std::int64_t head_width(const Config& config, const char* key, std::int64_t absent) {
  const std::int64_t width = config.size(key, absent);
  if (width > kMostHeadDim) {
    throw config.error(key, str_cat("is ", width, "; at most ", kMostHeadDim));
  }
  return width;
}

/// (n + r)^-1/2, and twice yarn's mscale where the config has mscale_all_dim.
float score_scale(const LatentAttentionConfig& attention, const RopeConfig& rope) {
  const auto width = static_cast<double>(attention.qk_nope_head_dim + attention.qk_rope_head_dim);
  double scale = 1 / std::sqrt(width);
  const double all_dim = rope.mscale_all_dim.value_or(0);
  if (rope.rope_type != "default" && all_dim != 0 && rope.factor > 1) {
    const double mscale = 0.1 * all_dim * std::log(rope.factor) + 1;
    scale *= mscale * mscale;
  }
  return static_cast<float>(scale);
}

LatentAttentionConfig parse_attention(const Config& config, const PartedDecoderConfig& c) {
  LatentAttentionConfig attention{.class_prefix = c.class_prefix,
                                  .hidden_size = c.hidden_size,
                                  .num_attention_heads = c.num_attention_heads};
  // Absent means 1536, null that there is no bottleneck; a config cannot tell, and released files
  // without one say null.
  attention.q_lora_rank = config.find_size("q_lora_rank").value_or(0);
  attention.kv_lora_rank = config.size("kv_lora_rank", 512);
  attention.qk_nope_head_dim = head_width(config, "qk_nope_head_dim", 128);
  attention.qk_rope_head_dim = head_width(config, "qk_rope_head_dim", 64);
  attention.v_head_dim = head_width(config, "v_head_dim", 128);
  attention.bias = config.boolean("attention_bias", false);
  attention.interleaved = config.boolean("rope_interleave", true);
  attention.scale = score_scale(attention, c.rope);
  if (attention.qk_rope_head_dim % 2 != 0) {
    throw config.error("qk_rope_head_dim", "must be even for rotary positions");
  }
  return attention;
}

ExpertsConfig parse_experts(const Config& config, const PartedDecoderConfig& c) {
  ExpertsConfig experts{.block_class = "DeepseekV3MoE",
                        .router_class = "DeepseekV3TopkRouter",
                        .class_prefix = "DeepseekV3",
                        .correction_bias = true,
                        .hidden_size = c.hidden_size,
                        .intermediate_size = config.size("moe_intermediate_size", 2048)};
  const std::int64_t shared = config.integer("n_shared_experts", 1);
  if (shared < 0 || shared > 1024) {
    throw config.error("n_shared_experts", str_cat("is ", shared, "; at most 1024"));
  }
  experts.shared_intermediate_size = shared * experts.intermediate_size;
  experts.rule = {.scores = RouterRule::Scores::kSigmoid,
                  .experts = config.size("n_routed_experts", 256),
                  .chosen = config.size("num_experts_per_tok", 8),
                  .normalize = config.boolean("norm_topk_prob", true),
                  .scale = static_cast<float>(config.number("routed_scaling_factor", 2.5)),
                  .groups = config.size("n_group", 8),
                  .best_groups = config.size("topk_group", 4)};
  return experts;
}

}  // namespace

std::unique_ptr<const Architecture> make_deepseek_v3(const Config& config) {
  require_silu(config);
  PartedDecoderConfig c = parse_decoder_config(config, "DeepseekV3", 1e-6);
  c.rope = parse_rope_config(config, 10000, c.max_position_embeddings);
  const LatentAttentionConfig attention = parse_attention(config, c);
  c.rotary_dim = attention.qk_rope_head_dim;
  c.kv = {.num_key_value_heads = c.num_attention_heads,
          .head_dim = attention.qk_nope_head_dim + attention.qk_rope_head_dim,
          .value_dim = attention.v_head_dim};

  const std::shared_ptr<const LayerPart> attends = make_latent_attention(attention);
  const auto sparse = make_experts(parse_experts(config, c), config);
  const std::shared_ptr<const LayerPart> dense =
      make_mlp({.class_name = "DeepseekV3MLP",
                .hidden_size = c.hidden_size,
                .intermediate_size = config.size("intermediate_size", 18432)});
  const std::int64_t dense_layers = config.integer("first_k_dense_replace", 3);
  for (std::int64_t i = 0; i < layer_count(config); ++i) {
    c.layers.push_back({attends, i < dense_layers ? dense : sparse});
  }
  // The layers that predict further tokens follow the others.
  const auto layers = static_cast<std::int64_t>(c.layers.size());
  const std::int64_t next = config.integer("num_nextn_predict_layers", 1);
  for (std::int64_t i = 0; i < std::min<std::int64_t>(next, kMostNextLayers); ++i) {
    c.ignored_prefixes.push_back(str_cat("model.layers.", layers + i, "."));
  }
  return make_parted_decoder(std::move(c));
}

}  // namespace shoehorn
