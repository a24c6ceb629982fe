#include "checkpoint/gguf_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/gguf_gpt_config.h"
#include "checkpoint/gguf_keys.h"
#include "checkpoint/gguf_rope_factors.h"

namespace shoehorn::gguf {
namespace {

using Json = nlohmann::ordered_json;

/// head_dim: said by the file, or what is left of q_proj's rows for each head.
std::int64_t head_dim_of(const Metadata& metadata, const ArchitectureKeys& keys, const Heads& heads,
                         std::int64_t hidden_size, std::span<const TensorInfo> tensors) {
  std::int64_t head_dim = hidden_size / heads.query;
  const TensorInfo* q_proj = find_tensor(tensors, "model.layers.0.self_attn.q_proj.weight");
  if (const auto said = keys.find_size("attention.key_length")) {
    head_dim = *said;
  } else if (q_proj != nullptr && q_proj->shape.rank() == 2) {
    head_dim = q_proj->shape[0] / heads.query;
  }
  // Phi-3 rotates a part of its heads.
  const bool is_partial = metadata.at_string("general.architecture") == "phi3";
  for (const std::string_view name : {"attention.value_length", "rope.dimension_count"}) {
    const auto other = keys.find_size(name);
    if (other && *other != head_dim && !(is_partial && name == "rope.dimension_count")) {
      throw UnsupportedError(str_cat(metadata.path().string(), ": ", keys.key(name), " is ", *other,
                                     " where a head has ", head_dim,
                                     " values; supported are equal ones"));
    }
  }
  if (head_dim <= 0 || head_dim % 2 != 0) {
    throw FormatError(metadata.path(), str_cat("heads of ", head_dim, " values cannot be rotated"));
  }
  return head_dim;
}

Json rope_scaling_from_divisors(const Metadata& metadata, std::span<const float> divisors,
                                double rope_theta, std::int64_t head_dim) {
  if (std::all_of(divisors.begin(), divisors.end(), [](float d) { return d == 1.0F; })) return {};
  const auto scaling = static_cast<std::int64_t>(divisors.size()) * 2 == head_dim
                           ? llama3_scaling_of(divisors, rope_theta)
                           : std::nullopt;
  if (!scaling) {
    throw UnsupportedError(str_cat(metadata.path().string(),
                                   ": rope_freqs.weight holds divisors that no llama3 rope_scaling "
                                   "gives; supported are llama3, linear and yarn"));
  }
  return {{"rope_type", "llama3"},
          {"factor", scaling->factor},
          {"low_freq_factor", scaling->low_freq_factor},
          {"high_freq_factor", scaling->high_freq_factor},
          {"original_max_position_embeddings",
           static_cast<std::int64_t>(scaling->original_max_position_embeddings)}};
}

/// rope_scaling, null where there is none.
Json rope_scaling(const Metadata& metadata, const ArchitectureKeys& keys,
                  std::span<const float> divisors, double rope_theta, std::int64_t head_dim) {
  if (!divisors.empty()) {
    return rope_scaling_from_divisors(metadata, divisors, rope_theta, head_dim);
  }
  const auto type = keys.find_string("rope.scaling.type");
  const auto old_linear = keys.find_double("rope.scale_linear");
  const double factor = keys.find_double("rope.scaling.factor").value_or(old_linear.value_or(1.0));
  if (type.value_or("linear") == "none" || (type.value_or("linear") == "linear" && factor == 1.0)) {
    return {};
  }
  if (!(factor > 0.0) || !std::isfinite(factor)) {
    throw FormatError(metadata.path(),
                      str_cat(keys.key("rope.scaling.factor"), ": ", factor, " is not positive"));
  }
  if (type.value_or("linear") == "linear") return {{"rope_type", "linear"}, {"factor", factor}};
  if (*type != "yarn") {
    throw UnsupportedError(str_cat(metadata.path().string(), ": ", keys.key("rope.scaling.type"),
                                   " is ", *type, "; supported are none, linear and yarn"));
  }
  Json scaling = {{"rope_type", "yarn"}, {"factor", factor}};
  if (const auto original = keys.find_size("rope.scaling.original_context_length")) {
    scaling["original_max_position_embeddings"] = *original;
  }
  if (const auto beta = keys.find_double("rope.scaling.yarn_beta_fast"))
    scaling["beta_fast"] = *beta;
  if (const auto beta = keys.find_double("rope.scaling.yarn_beta_slow"))
    scaling["beta_slow"] = *beta;
  if (const auto attention = keys.find_double("rope.scaling.attn_factor")) {
    scaling["attention_factor"] = *attention;
  }
  return scaling;
}

/// A special token's id; converters write the largest 32-bit number for "there is none".
std::optional<std::uint64_t> find_token_id(const Metadata& metadata, std::string_view name) {
  const auto id = metadata.find_uint(str_cat("tokenizer.ggml.", name));
  return id && *id < 0xFFFFFFFF ? id : std::nullopt;
}

void add_token_ids(const Metadata& metadata, Json& json) {
  if (const auto id = find_token_id(metadata, "bos_token_id")) json["bos_token_id"] = *id;
  if (const auto id = find_token_id(metadata, "eos_token_id")) json["eos_token_id"] = *id;
  if (const auto id = find_token_id(metadata, "padding_token_id")) json["pad_token_id"] = *id;
}

struct Kin {
  std::string_view gguf;
  std::string_view model_type;
  std::string_view class_name;
  std::string_view act_key;
  std::string_view act;
};
constexpr std::array kKin = {
    Kin{"qwen2", "qwen2", "Qwen2ForCausalLM", "hidden_act", "silu"},
    Kin{"qwen3", "qwen3", "Qwen3ForCausalLM", "hidden_act", "silu"},
    Kin{"gemma", "gemma", "GemmaForCausalLM", "hidden_act", "gelu_pytorch_tanh"},
    Kin{"gemma2", "gemma2", "Gemma2ForCausalLM", "hidden_activation", "gelu_pytorch_tanh"},
    Kin{"gemma3", "gemma3_text", "Gemma3ForCausalLM", "hidden_activation", "gelu_pytorch_tanh"},
    Kin{"phi3", "phi3", "Phi3ForCausalLM", "hidden_act", "silu"},
    Kin{"starcoder2", "starcoder2", "Starcoder2ForCausalLM", "hidden_act", "gelu_pytorch_tanh"},
};

/// Gemma 2 and 3. The file does not say query_pre_attn_scalar: it is a head's width, but in the 27B
/// models the width of a head of hidden_size (as llama.cpp has it, by the number of layers).
void add_gemma(const ArchitectureKeys& keys, std::string_view name, Json& json) {
  json["norm_weights_include_one"] = true;
  if (name == "gemma") return;
  const auto layers = json["num_hidden_layers"].get<std::int64_t>();
  const bool is_27b = layers == (name == "gemma2" ? 46 : 62);
  json["query_pre_attn_scalar"] = is_27b ? json["hidden_size"].get<std::int64_t>() /
                                               json["num_attention_heads"].get<std::int64_t>()
                                         : json["head_dim"].get<std::int64_t>();
  json["sliding_window"] = keys.find_size("attention.sliding_window").value_or(4096);
  // The first files of Gemma 2 lack both, and mean what its models have.
  const auto cap = [&](std::string_view key, double absent) {
    const double value = keys.find_double(key).value_or(name == "gemma2" ? absent : 0);
    return value > 0 ? Json(value) : Json();
  };
  json["attn_logit_softcapping"] = name == "gemma2" ? cap("attn_logit_softcapping", 50) : Json();
  json["final_logit_softcapping"] = cap("final_logit_softcapping", 30);
  if (name != "gemma3") return;
  if (!keys.find_double("rope.freq_base")) json["rope_theta"] = 1e6;
  json["rope_local_base_freq"] = keys.find_double("rope.freq_base_swa").value_or(10000.0);
}

/// Files of models without a window say nothing, or 0.
void add_window(const ArchitectureKeys& keys, Json& json) {
  const auto window = keys.find_size_or_zero("attention.sliding_window");
  json["sliding_window"] = window ? Json(*window) : Json();
}

Json factor_list(std::span<const float> factors) {
  Json list = Json::array();
  for (const float factor : factors) list.push_back(static_cast<double>(factor));
  return list;
}

void add_longrope(const Metadata& metadata, const ArchitectureKeys& keys,
                  const ConfigTensors& tensors, Json& json) {
  if (tensors.rope_long.empty() && tensors.rope_short.empty()) return;
  if (tensors.rope_long.size() != tensors.rope_short.size()) {
    throw FormatError(metadata.path(),
                      str_cat("rope_factors_long.weight has ", tensors.rope_long.size(),
                              " values, rope_factors_short.weight ", tensors.rope_short.size()));
  }
  json["original_max_position_embeddings"] = keys.at_size("rope.scaling.original_context_length");
  Json scaling = {{"rope_type", "longrope"},
                  {"long_factor", factor_list(tensors.rope_long)},
                  {"short_factor", factor_list(tensors.rope_short)}};
  if (const auto factor = keys.find_double("rope.scaling.attn_factor")) {
    scaling["attention_factor"] = *factor;
  }
  json["rope_scaling"] = std::move(scaling);
}

void add_phi3(const Metadata& metadata, const ArchitectureKeys& keys, const ConfigTensors& tensors,
              Json& json) {
  add_longrope(metadata, keys, tensors, json);
  add_window(keys, json);
  json["pad_token_id"] =
      Json();  // else transformers takes 32000, which may be beyond the vocabulary
  const auto head_dim = json["head_dim"].get<std::int64_t>();
  const std::int64_t turned = keys.find_size("rope.dimension_count").value_or(head_dim);
  // The half keeps int(head_dim · factor) from losing one to rounding.
  if (turned != head_dim) {
    json["partial_rotary_factor"] =
        (static_cast<double>(turned) + 0.5) / static_cast<double>(head_dim);
  }
}

/// Mixtral's files call themselves llama's.
void make_mixtral(const Metadata& metadata, const ArchitectureKeys& keys, Json& json) {
  for (const char* bias : {"attention_bias", "mlp_bias"}) {
    if (json[bias].get<bool>()) {
      throw UnsupportedError(str_cat(metadata.path().string(), ": experts and biases (", bias,
                                     "): supported mixtures are Mixtral's, which have none"));
    }
    json.erase(bias);
  }
  json["architectures"] = Json::array({"MixtralForCausalLM"});
  json["model_type"] = "mixtral";
  json["sliding_window"] = Json();
  json["num_local_experts"] = keys.at_size("expert_count");
  json["num_experts_per_tok"] = keys.at_size("expert_used_count");
  if (const auto size = keys.find_size("expert_feed_forward_length")) {
    json["intermediate_size"] = *size;
  }
}

/// Turns the config of a llama into that of another architecture that shares most keys with it.
void make_kin_of_llama(const Metadata& metadata, const ArchitectureKeys& keys,
                       const ConfigTensors& tensors, Json& json) {
  const std::string_view name = metadata.at_string("general.architecture");
  const auto kin =
      std::find_if(kKin.begin(), kKin.end(), [&](const Kin& other) { return other.gguf == name; });
  if (kin == kKin.end()) {
    throw UnsupportedError(str_cat(metadata.path().string(), ": no config is known for ", name));
  }
  json["architectures"] = Json::array({kin->class_name});
  json["model_type"] = kin->model_type;
  json.erase("hidden_act");
  json[std::string(kin->act_key)] = kin->act;
  if (name == "starcoder2") {
    json["use_bias"] = any_tensor_ends_with(tensors.tensors, ".self_attn.", ".bias");
    add_window(keys, json);
  }
  if (name == "phi3") add_phi3(metadata, keys, tensors, json);
  if (name.starts_with("gemma")) add_gemma(keys, name, json);
}

/// Of a LlamaForCausalLM and those that share most keys with it.
Json llama_config(const Metadata& metadata, const ConfigTensors& tensors) {
  const ArchitectureKeys keys(metadata);
  const Heads heads = heads_of(metadata);
  const std::int64_t hidden_size = keys.at_size("embedding_length");
  const std::int64_t head_dim = head_dim_of(metadata, keys, heads, hidden_size, tensors.tensors);
  const double rope_theta = keys.find_double("rope.freq_base").value_or(10000.0);
  const auto all = tensors.tensors;
  const std::string_view name = metadata.at_string("general.architecture");
  const bool has_experts = keys.find_size_or_zero("expert_count").has_value();
  if (has_experts && name != "llama") {
    throw UnsupportedError(str_cat(metadata.path().string(), ": ", keys.key("expert_count"),
                                   ": supported mixtures of experts are those of llama files"));
  }
  Json json = {
      {"architectures", Json::array({"LlamaForCausalLM"})},
      {"model_type", "llama"},
      {"hidden_act", "silu"},
      {"hidden_size", hidden_size},
      {"intermediate_size", keys.at_size("feed_forward_length")},
      {"num_hidden_layers", keys.at_size("block_count")},
      {"num_attention_heads", heads.query},
      {"num_key_value_heads", heads.key_value},
      {"head_dim", head_dim},
      {"max_position_embeddings", keys.at_size("context_length")},
      {"rope_theta", rope_theta},
      {"rope_scaling", rope_scaling(metadata, keys, tensors.rope_divisors, rope_theta, head_dim)},
      {"attention_bias", any_tensor_ends_with(all, ".self_attn.", ".bias")},
      {"mlp_bias", any_tensor_ends_with(all, ".mlp.", ".bias")},
      {"tie_word_embeddings", find_tensor(all, "lm_head.weight") == nullptr},
      {"vocab_size", vocab_size_of(metadata, keys, all, "model.embed_tokens.weight")},
      {"torch_dtype", torch_dtype_of(all)},
  };
  if (name == "starcoder2") {
    json["norm_epsilon"] = keys.at_double("attention.layer_norm_epsilon");
  } else {
    json["rms_norm_eps"] = keys.at_double("attention.layer_norm_rms_epsilon");
  }
  if (has_experts) {
    make_mixtral(metadata, keys, json);
  } else if (name != "llama") {
    make_kin_of_llama(metadata, keys, tensors, json);
  }
  return json;
}

}  // namespace

Heads heads_of(const Metadata& metadata) {
  const ArchitectureKeys keys(metadata);
  const auto query = keys.find_size_of_layers("attention.head_count");
  if (!query) keys.at_size("attention.head_count");  // throws: missing
  const auto key_value = keys.find_size_of_layers("attention.head_count_kv");
  const Heads heads{.query = *query, .key_value = key_value.value_or(*query)};
  if (heads.query % heads.key_value != 0) {
    throw FormatError(metadata.path(), str_cat(heads.query, " attention heads do not divide among ",
                                               heads.key_value, " key-value heads"));
  }
  return heads;
}

std::string config_json(const Metadata& metadata, const ConfigTensors& tensors) {
  const std::string_view name = metadata.at_string("general.architecture");
  Json json = name == "gpt2"     ? gpt2_config(metadata, tensors.tensors)
              : name == "falcon" ? falcon_config(metadata, tensors.tensors)
                                 : llama_config(metadata, tensors);
  add_token_ids(metadata, json);
  return json.dump(2);
}
std::string generation_config_json(const Metadata& metadata) {
  Json json = Json::object();
  add_token_ids(metadata, json);
  // Chat models often end a turn with another token than a text.
  std::vector<std::uint64_t> ends;
  for (const std::string_view name : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    const auto id = find_token_id(metadata, name);
    if (id && std::find(ends.begin(), ends.end(), *id) == ends.end()) ends.push_back(*id);
  }
  if (ends.size() > 1) json["eos_token_id"] = ends;
  if (const auto temperature = metadata.find_double("general.sampling.temp")) {
    json["do_sample"] = *temperature > 0.0;
    json["temperature"] = *temperature;
  }
  if (const auto k = metadata.find_uint("general.sampling.top_k")) json["top_k"] = *k;
  if (const auto p = metadata.find_double("general.sampling.top_p")) json["top_p"] = *p;
  if (const auto p = metadata.find_double("general.sampling.min_p")) json["min_p"] = *p;
  if (const auto penalty = metadata.find_double("general.sampling.penalty_repeat")) {
    json["repetition_penalty"] = *penalty;
  }
  return json.dump(2);
}

}  // namespace shoehorn::gguf
