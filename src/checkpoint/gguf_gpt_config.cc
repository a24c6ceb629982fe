#include "checkpoint/gguf_gpt_config.h"

#include <nlohmann/json.hpp>

namespace shoehorn::gguf {

using Json = nlohmann::ordered_json;

Json gpt2_config(const Metadata& metadata, std::span<const TensorInfo> tensors) {
  const ArchitectureKeys keys(metadata);
  const TensorInfo* positions = find_tensor(tensors, "transformer.wpe.weight");
  const bool has_table = positions != nullptr && positions->shape.rank() == 2;
  return {
      {"architectures", Json::array({"GPT2LMHeadModel"})},
      {"model_type", "gpt2"},
      {"activation_function", "gelu_new"},
      {"n_embd", keys.at_size("embedding_length")},
      {"n_inner", keys.at_size("feed_forward_length")},
      {"n_layer", keys.at_size("block_count")},
      {"n_head", heads_of(metadata).query},
      {"n_positions", has_table ? positions->shape[0] : keys.at_size("context_length")},
      {"layer_norm_epsilon", keys.at_double("attention.layer_norm_epsilon")},
      {"tie_word_embeddings", find_tensor(tensors, "lm_head.weight") == nullptr},
      {"vocab_size", vocab_size_of(metadata, keys, tensors, "transformer.wte.weight")},
      {"torch_dtype", torch_dtype_of(tensors)},
  };
}

Json falcon_config(const Metadata& metadata, std::span<const TensorInfo> tensors) {
  const ArchitectureKeys keys(metadata);
  const Heads heads = heads_of(metadata);
  const bool has_two_norms = find_tensor(tensors, "transformer.h.0.ln_attn.weight") != nullptr;
  const bool has_groups = has_two_norms || heads.key_value > 1;
  Json json = {
      {"architectures", Json::array({"FalconForCausalLM"})},
      {"model_type", "falcon"},
      {"activation", "gelu"},
      {"alibi", false},
      {"bias", any_tensor_ends_with(tensors, ".self_attention.", ".bias")},
      {"ffn_hidden_size", keys.at_size("feed_forward_length")},
      {"hidden_size", keys.at_size("embedding_length")},
      {"layer_norm_epsilon", keys.at_double("attention.layer_norm_epsilon")},
      {"max_position_embeddings", keys.at_size("context_length")},
      {"multi_query", true},
      {"new_decoder_architecture", has_groups},
      {"num_attention_heads", heads.query},
      {"num_hidden_layers", keys.at_size("block_count")},
      {"num_kv_heads", heads.key_value},
      {"parallel_attn", true},
      {"rope_theta", keys.find_double("rope.freq_base").value_or(10000.0)},
      {"tie_word_embeddings", find_tensor(tensors, "lm_head.weight") == nullptr},
      {"vocab_size", vocab_size_of(metadata, keys, tensors, "transformer.word_embeddings.weight")},
      {"torch_dtype", torch_dtype_of(tensors)},
  };
  if (has_groups) json["num_ln_in_parallel_attn"] = has_two_norms ? 2 : 1;
  return json;
}

}  // namespace shoehorn::gguf
