// What each key of transformers' GenerationConfig is to a generation here: followed, without effect
// on what is said, or not done. No key of a file is passed over in silence.
#pragma once

#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "generate/generation_config.h"

namespace shoehorn {

/// True for the keys that transformers 5.24's GenerationConfig has, or had in older files.
bool is_generation_key(std::string_view key);

/// Of a generation_config.json, an object: the keys that are set to what is not done, and those
/// that no GenerationConfig has, both in the order of their names.
UnusedGenerationKeys unused_generation_keys(const nlohmann::json& object);

}  // namespace shoehorn
