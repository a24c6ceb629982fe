// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): keys and values of all heads are
// made of one latent row a token; positions turn a part of each head that all keys share.
#pragma once

#include <memory>
#include <string>

#include "model/layer_part.h"

namespace shoehorn {

struct LatentAttentionConfig {
  std::string class_prefix;
  std::int64_t hidden_size = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t q_lora_rank = 0;  // 0: q is made of the hidden row at once
  std::int64_t kv_lora_rank = 0;
  std::int64_t qk_nope_head_dim = 0;
  std::int64_t qk_rope_head_dim = 0;
  std::int64_t v_head_dim = 0;
  bool bias = false;        // of q_a_proj, kv_a_proj_with_mqa and o_proj
  bool interleaved = true;  // which entries turn together
  float scale = 1;          // of scores
};

std::unique_ptr<const LayerPart> make_latent_attention(const LatentAttentionConfig& config);

}  // namespace shoehorn
