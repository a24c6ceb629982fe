// Attention of queries in groups that share keys and values (arXiv:2305.13245), with rotary
// positions, as a part of a decoder layer.
#pragma once

#include <memory>
#include <string>

#include "model/layer_part.h"
#include "model/parted_decoder.h"

namespace shoehorn {

struct GroupedAttentionConfig {
  std::string class_prefix;  // of module classes: "Mixtral"
  std::int64_t hidden_size = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t sliding_window = 0;  // 0: none
  bool bias = false;                // of q, k, v and o
  bool qk_norm = false;             // RMSNorm of every head of q and k, before the rotary positions
  float rms_norm_eps = 1e-6F;       // of these
  bool sinks = false;               // a score of every head that no key has (gpt-oss)
};

/// What an architecture takes where a config says nothing.
struct GroupedAttentionDefaults {
  std::int64_t default_key_value_heads = 0;
  std::int64_t default_head_dim = 0;  // 0: hidden_size / num_attention_heads
  bool default_bias = false;
  std::int64_t default_sliding_window = 0;
};

/// The heads, their width, the biases and the window that `config` asks for. Throws FormatError
/// where they make no sense.
GroupedAttentionConfig parse_grouped_attention(const Config& config,
                                               const PartedDecoderConfig& decoder,
                                               const GroupedAttentionDefaults& defaults);

std::unique_ptr<const LayerPart> make_grouped_attention(const GroupedAttentionConfig& config);

}  // namespace shoehorn
