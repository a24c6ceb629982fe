// GGUF metadata as Hugging Face's config.json and generation_config.json.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "checkpoint/gguf_metadata.h"
#include "checkpoint/tensor_info.h"

namespace shoehorn::gguf {

/// Numbers of attention heads, which naming and row order need as well.
struct Heads {
  std::int64_t query = 0;
  std::int64_t key_value = 0;
};

/// head_count and head_count_kv of a llama-like architecture; key_value is query where the file
/// does not say. Throws FormatError for zero or heads that do not divide, UnsupportedError where
/// layers differ.
Heads heads_of(const Metadata& metadata);

/// What the config takes from tensors rather than metadata.
struct ConfigTensors {
  std::span<const TensorInfo> tensors = {};   // under Hugging Face's names
  std::span<const float> rope_divisors = {};  // rope_freqs.weight, or empty
  std::span<const float> rope_long = {};      // rope_factors_long.weight: Phi-3's longrope
  std::span<const float> rope_short = {};     // rope_factors_short.weight
};

/// config.json of general.architecture's class in transformers 4's spelling (rope_theta,
/// rope_scaling, torch_dtype); of llama files with experts that is Mixtral's. torch_dtype is the
/// type of most plain matrices, float32 where all are quantized. Throws FormatError naming the key
/// that is missing or contradicts the tensors, UnsupportedError for what that class cannot express
/// (part-rotary heads, RoPE divisors that no llama3 scaling gives, experts of others than Mixtral).
std::string config_json(const Metadata& metadata, const ConfigTensors& tensors);

/// generation_config.json: bos, eos (a list where end-of-turn ids are given too) and pad ids, and
/// recommended sampling parameters where the file has them.
std::string generation_config_json(const Metadata& metadata);

}  // namespace shoehorn::gguf
