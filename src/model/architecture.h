// What the rest of shoehorn knows of an architecture. One file each implements it; the registry
// makes it known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config.h"
#include "model/pass.h"
#include "model/runtime.h"
#include "plan/module_tree.h"
#include "weights/weight_store.h"

namespace shoehorn {

/// The names of the weights that the forward pass asks for together, in its order; an empty name is
/// a weight that this configuration does not have.
struct WeightGroupNames {
  std::string name;  // a module path: "model.layers.3"
  std::vector<std::string> weights;
};

struct DecoderShape {
  std::int64_t hidden_size = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t widest_input = 0;   // of any linear layer
  std::int64_t widest_output = 0;  // of any but the head
  std::vector<LayerKvShape> layers;
};

/// A decoder without its weights. Immutable and thread-safe.
class Architecture {
 public:
  virtual ~Architecture() = default;

  virtual const DecoderShape& shape() const = 0;

  /// Names as in Hugging Face's state_dict; floating parameters have `dtype`.
  virtual ModuleTree module_tree(DType dtype) const = 0;

  /// The module that a headless checkpoint was saved from: "model".
  virtual std::string_view base_model_prefix() const = 0;

  /// Group 0 is the embedding (weight 0 is looked up by rows), then one a layer, then what follows
  /// the last layer.
  virtual std::vector<WeightGroupNames> weight_groups() const = 0;

  /// Scratch of a pass over `rows` rows, `logits_rows` of them to the head, without the kernels'
  /// own.
  virtual std::size_t workspace_bytes(std::int64_t rows, std::int64_t logits_rows) const = 0;

  /// The angles of a batch, for each rotary embedding that the forward pass asks of its Pass.
  virtual std::vector<RotaryTable> rotary_tables(const Batch& /*batch*/) const { return {}; }

  /// Computes a pass: stores keys and values of every row (the caches are advanced by the caller)
  /// and fills the result of the rows that pass.wanted() names. Throws FileError from the
  /// stream.
  virtual void forward(const Pass& pass, WeightStore& weights, Runtime& runtime,
                       const PassResult& result) const = 0;
};

/// The architecture that config.json's `model_type` names. Throws UnsupportedError listing those
/// that are known, FormatError for values that make no sense.
std::unique_ptr<const Architecture> make_architecture(const Config& config);

}  // namespace shoehorn
