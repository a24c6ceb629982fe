// How checkpoints hold the experts of a layer: transformers 5 has one parameter for all of them,
// files mostly a tensor a matrix.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/str_cat.h"
#include "tensor/shape.h"

namespace shoehorn {

/// A parameter of the module tree that holds something of every expert.
struct ExpertStack {
  std::string path;  // of the tree: "model.layers.3.mlp.experts.gate_up_proj"
  /// In memory: [matrices, N, K], each multiplied by itself; of biases [experts, N].
  Shape shape;
  /// The parameter is stored [matrices, K, N] (gpt-oss), but for MXFP4.
  bool is_transposed = false;
  /// Matrix i in a tensor of its own: prefix + expert + parts[i modulo their number], that many
  /// matrices being an expert's. Of biases: no parts.
  std::string prefix = {};              // "model.layers.3.mlp.experts."
  std::vector<std::string> parts = {};  // ".gate_proj.weight", ".up_proj.weight"
  double used = 1;                      // the share that a token multiplies

  bool is_matrices() const { return shape.rank() == 3; }
  std::string matrix_name(std::int64_t i) const {
    const auto n = static_cast<std::int64_t>(parts.size());
    return str_cat(prefix, i / n, parts[static_cast<std::size_t>(i % n)]);
  }
};

}  // namespace shoehorn
