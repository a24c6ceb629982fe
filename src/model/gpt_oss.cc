#include "model/gpt_oss.h"

#include "base/str_cat.h"
#include "model/experts_part.h"
#include "model/grouped_attention.h"
#include "model/parted_decoder.h"

namespace shoehorn {
namespace {

/// What transformers takes where a config says nothing of rotary positions.
RopeConfig parse_rope(const Config& config, std::int64_t max_position_embeddings) {
  constexpr double kTheta = 150000;
  if (config.has("rope_scaling") || config.has("rope_parameters") || config.has("rope_theta")) {
    return parse_rope_config(config, kTheta, max_position_embeddings);
  }
  return {.rope_type = "yarn",
          .rope_theta = kTheta,
          .factor = 32,
          .truncate = false,
          .original_max_position_embeddings = 4096,
          .max_position_embeddings = max_position_embeddings};
}

/// Whether layer i sees a window: as layer_types says, else every other one, the first too.
std::vector<bool> windowed_layers(const Config& config, std::int64_t layers) {
  const std::vector<std::string> types = config.texts("layer_types");
  std::vector<bool> windowed;
  if (!types.empty() && static_cast<std::int64_t>(types.size()) != layers) {
    throw config.error("layer_types",
                       str_cat("has ", types.size(), " entries for ", layers, " layers"));
  }
  for (std::int64_t i = 0; i < layers; ++i) {
    if (types.empty()) {
      windowed.push_back(i % 2 == 0);
      continue;
    }
    const std::string& type = types[static_cast<std::size_t>(i)];
    if (type != "sliding_attention" && type != "full_attention") {
      throw config.error("layer_types",
                         str_cat("\"", type, "\" is not sliding_attention or full_attention"));
    }
    windowed.push_back(type == "sliding_attention");
  }
  return windowed;
}

}  // namespace

std::unique_ptr<const Architecture> make_gpt_oss(const Config& config) {
  PartedDecoderConfig c = parse_decoder_config(config, "GptOss", 1e-5);
  GroupedAttentionConfig attention = parse_grouped_attention(config, c,
                                                             {.default_key_value_heads = 8,
                                                              .default_head_dim = 64,
                                                              .default_bias = true,
                                                              .default_sliding_window = 128});
  attention.sinks = true;
  ExpertsConfig experts{.block_class = "GptOssMLP",
                        .router_class = "GptOssTopKRouter",
                        .class_prefix = "GptOss",
                        .router_name = "router",
                        .router_first = true,
                        .router_bias = true,
                        .hidden_size = c.hidden_size,
                        .intermediate_size = config.size("intermediate_size"),
                        .glu = ExpertWeights::Glu::kClamped,
                        .limit = static_cast<float>(config.number("swiglu_limit", 7.0)),
                        .alpha = static_cast<float>(config.number("swiglu_alpha", 1.702)),
                        .gate_up_parts = {".gate_up_proj.weight"}};
  experts.rule = {.scores = RouterRule::Scores::kSoftmaxOfTop,
                  .experts = config.size("num_local_experts", 128),
                  .chosen = config.size("num_experts_per_tok", 4)};
  if (!(experts.limit > 0)) throw config.error("swiglu_limit", "must be positive");
  if (!(experts.alpha > 0)) throw config.error("swiglu_alpha", "must be positive");
  c.rope = parse_rope(config, c.max_position_embeddings);
  c.rotary_dim = attention.head_dim;
  c.float32_norms = true;
  c.kv = {attention.num_key_value_heads, attention.head_dim};

  const auto mlp = make_experts(experts, config);
  const std::shared_ptr<const LayerPart> windowed = make_grouped_attention(attention);
  attention.sliding_window = 0;
  const std::shared_ptr<const LayerPart> full = make_grouped_attention(attention);
  for (const bool window : windowed_layers(config, layer_count(config))) {
    c.layers.push_back({window ? windowed : full, mlp});
  }
  return make_parted_decoder(std::move(c));
}

}  // namespace shoehorn
