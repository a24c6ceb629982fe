// A decoder of RMSNorm-ed layers of two parts each, as transformers lays out its mixtures of
// experts: model.{embed_tokens, layers.N.{self_attn, mlp, input_layernorm,
// post_attention_layernorm}, norm, rotary_emb}, lm_head.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/architecture.h"
#include "model/layer_part.h"
#include "model/rope.h"

namespace shoehorn {

struct PartedLayer {
  std::shared_ptr<const LayerPart> attention;  // shared with the layers like this one
  std::shared_ptr<const LayerPart> mlp;
};

struct PartedDecoderConfig {
  std::string
      class_prefix;  // "Mixtral": MixtralForCausalLM, MixtralModel, MixtralDecoderLayer, ...
  std::int64_t hidden_size = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;
  std::int64_t num_attention_heads = 0;
  float rms_norm_eps = 1e-6F;
  bool tie_word_embeddings = false;
  RopeConfig rope;
  std::int64_t rotary_dim = 0;
  LayerKvShape kv;  // of every layer
  std::vector<PartedLayer> layers;
  /// What files have in place of a part of a path: {".mlp.gate.", ".block_sparse_moe.gate."}.
  std::pair<std::string, std::string> stored_infix = {};
  bool float32_norms = false;  // in a model that is loaded in float16 (_keep_in_fp32_modules)
  std::vector<std::string> ignored_prefixes = {};  // Architecture::ignored_prefixes()
};

/// The keys that all of them read: sizes, max_position_embeddings, rms_norm_eps, ties.
PartedDecoderConfig parse_decoder_config(const Config& config, const std::string& class_prefix,
                                         double default_rms_norm_eps);

/// Throws UnsupportedError for another activation than silu.
void require_silu(const Config& config);

/// num_hidden_layers. Throws FormatError where it is more than any model has.
std::int64_t layer_count(const Config& config);

std::unique_ptr<const Architecture> make_parted_decoder(PartedDecoderConfig config);

}  // namespace shoehorn
