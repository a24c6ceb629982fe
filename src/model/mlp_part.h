// The gated mlp of a decoder layer, down(silu(gate(h)) · up(h)), as a part of it.
#pragma once

#include <memory>
#include <string>

#include "model/layer_part.h"

namespace shoehorn {

struct MlpConfig {
  std::string class_name;  // "Qwen3MoeMLP"
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
};

std::unique_ptr<const LayerPart> make_mlp(const MlpConfig& config);

}  // namespace shoehorn
