// A dense decoder as data, and the forward pass that all of them share: which matrices and norms a
// layer has, in which order, and what they are called. An architecture's file fills a DecoderSpec.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/architecture.h"
#include "model/attention_block.h"
#include "model/mlp_block.h"
#include "model/norm_block.h"
#include "model/rope.h"

namespace shoehorn {

/// The norms of a layer, each there or not:
///   x = after_attention(x + multiplier · post_attention(attention(pre_attention(x))))
///   x = after_mlp(x + multiplier · post_mlp(mlp(pre_mlp(x))))
/// In parallel, both from one x:
///   x = x + attention(pre_attention(x)) + mlp(pre_mlp(x)), or mlp(pre_attention(x)) without
///   pre_mlp
struct LayerNorms {
  NormSpec pre_attention = {};
  NormSpec post_attention = {};
  NormSpec after_attention = {};
  NormSpec pre_mlp = {};
  NormSpec post_mlp = {};
  NormSpec after_mlp = {};
};

struct DecoderSpec {
  ModuleTree tree;  // parameters in float32
  std::string base_model_prefix;
  std::vector<std::pair<std::string, std::string>> stored_names = {};  // as Architecture has them

  std::int64_t hidden_size = 0;
  std::int64_t embedding_size = 0;  // of an embedded token, before project_in
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;

  // Modules, with their whole path; empty: not there.
  std::string embed_tokens;
  std::string project_in = {};       // OPT: embedding_size → hidden_size
  std::string embed_positions = {};  // learned: row position + position_offset is added
  std::int64_t position_offset = 0;
  NormSpec embedding_norm = {};  // BLOOM
  std::string layers;            // "model.layers"
  NormSpec final_norm = {};
  std::string project_out = {};  // OPT: hidden_size → embedding_size
  std::string lm_head = "lm_head";

  AttentionSpec attention;
  std::vector<AttentionLayer> attention_layers;  // one a layer
  std::vector<RotaryEmbedding> rotary = {};
  MlpSpec mlp;
  LayerNorms norms = {};
  bool is_parallel = false;
  /// BLOOM: what a block is added to is the normed input, not the input.
  bool adds_to_normed = false;

  float embedding_multiplier = 1;
  float residual_multiplier = 1;
  float logits_multiplier = 1;
  float logits_softcap = 0;  // 0: none
};

/// Throws FormatError or what `config` says where numbers do not fit together.
std::unique_ptr<const Architecture> make_decoder(DecoderSpec spec);

}  // namespace shoehorn
