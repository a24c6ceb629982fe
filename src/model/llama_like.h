// Decoders that are Llama up to details: the layout of their module tree, and a DecoderSpec of it.
// Details are data here; an architecture's own file reads them from its config.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/config_parts.h"
#include "model/decoder.h"

namespace shoehorn {

/// Where the norm of a layer works.
enum class NormPlace { kPreAttention, kPostAttention, kPreMlp, kPostMlp };

struct LlamaLike {
  std::string prefix;  // of class names: "Llama"
  DecoderDims dims;
  bool tie_word_embeddings = false;

  /// What the norms are; name and width are filled in.
  NormSpec norm = {.kind = NormSpec::Kind::kRms};
  std::string norm_class = {};  // empty: LayerNorm of torch, with a bias
  std::vector<std::pair<std::string, NormPlace>> layer_norms = {
      {"input_layernorm", NormPlace::kPreAttention},
      {"post_attention_layernorm", NormPlace::kPreMlp}};
  std::string final_norm = "norm";

  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool head_bias = false;
  bool has_fused_qkv = false;
  std::string o_proj = "o_proj";
  /// Modules of attention behind its matrices: norms of queries and keys.
  std::vector<std::pair<std::string, Module>> attention_extras = {};
  NormSpec q_norm = {};
  NormSpec k_norm = {};
  float softcap = 0;
  RotaryPairs pairs = RotaryPairs::kHalves;
  std::vector<AttentionLayer> layers = {};  // empty: all rotated, no window, the usual scale
  std::vector<RotaryEmbedding> rotary = {};

  std::int64_t intermediate_size = 0;
  ActivationConfig activation = {Activation::kSilu, "silu"};
  enum class Mlp { kGated, kFusedGate, kPlain } mlp = Mlp::kGated;
  std::string first = {};  // names of a plain mlp's matrices
  std::string second = {};
  std::string act_name = "act_fn";
  bool is_act_first = false;

  /// Modules without weights behind a layer's norms.
  std::vector<std::pair<std::string, Module>> layer_extras = {};
};

/// Fills base prefix, names, tree and blocks; multipliers and caps are the caller's to add.
DecoderSpec llama_like(const LlamaLike& model);

/// An AttentionLayer for every layer, with the usual scale.
std::vector<AttentionLayer> usual_layers(const DecoderDims& dims);

/// The same with a window on those layers that `sliding` says.
std::vector<AttentionLayer> windowed_layers(const DecoderDims& dims,
                                            const std::vector<bool>& sliding, std::int64_t window);

}  // namespace shoehorn
