// A mixture of experts as a part of a decoder layer: its router, its experts, and the expert that
// every row goes to where there is one.
#pragma once

#include <memory>
#include <string>

#include "model/experts.h"
#include "model/layer_part.h"

namespace shoehorn {

struct ExpertsConfig {
  // Class names, as transformers has them.
  std::string block_class;   // "MixtralSparseMoeBlock"
  std::string router_class;  // "MixtralTopKRouter"
  std::string class_prefix;  // "Mixtral": MixtralExperts, MixtralMLP
  std::string router_name = "gate";
  bool router_first = false;  // of the block's modules
  bool router_bias = false;
  bool correction_bias = false;  // the router's buffer e_score_correction_bias

  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;         // of each expert
  std::int64_t shared_intermediate_size = 0;  // of the expert of every row; 0: none
  RouterRule rule = {};
  ExpertWeights::Glu glu = ExpertWeights::Glu::kPair;
  float limit = 0;  // kClamped
  float alpha = 1;

  /// Matrices in tensors of their own (ExpertStack), below the part's path.
  std::string stored_block = {};  // in place of the part's name: "block_sparse_moe"
  std::vector<std::string> gate_up_parts = {".gate_proj.weight", ".up_proj.weight"};
  std::string down_part = ".down_proj.weight";
};

/// Throws FormatError, naming the key of `config`, where more experts are chosen than there are,
/// groups do not divide them, or sizes are none that a model has.
std::shared_ptr<const LayerPart> make_experts(const ExpertsConfig& experts, const Config& config);

}  // namespace shoehorn
