// The configs of GPT-2 and Falcon, whose keys are not those of Llama.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "checkpoint/gguf_config.h"
#include "checkpoint/gguf_keys.h"

namespace shoehorn::gguf {

/// config.json of a GPT2LMHeadModel. Throws FormatError naming the key that is missing.
nlohmann::ordered_json gpt2_config(const Metadata& metadata, std::span<const TensorInfo> tensors);

/// config.json of a FalconForCausalLM with rotary positions, attention and mlp side by side, which
/// is what llama.cpp runs: of one key-value head, or of groups of queries with one norm or two.
nlohmann::ordered_json falcon_config(const Metadata& metadata, std::span<const TensorInfo> tensors);

}  // namespace shoehorn::gguf
