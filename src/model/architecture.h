// What the rest of shoehorn knows of an architecture. One file each implements it; the registry
// makes it known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/config.h"
#include "model/expert_stack.h"
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

  /// {path, name}: what files call a parameter, where that is not its path in the tree.
  virtual std::vector<std::pair<std::string, std::string>> stored_names() const { return {}; }

  /// False where the host takes part in the midst of a pass, as with routers of experts: passes on
  /// a CUDA device are then not recorded as graphs.
  virtual bool is_recordable() const { return true; }

  /// Longrope turns keys by other angles once a call ends past this length, those it has cached
  /// too: a sequence that outgrows it is computed again from its beginning. 0: there is no such
  /// length.
  virtual std::int64_t short_context() const { return 0; }

  /// The module that a headless checkpoint was saved from: "model".
  virtual std::string_view base_model_prefix() const = 0;

  /// Tensors whose names begin so are in checkpoints and not in the model: nobody is told of them.
  virtual std::vector<std::string> ignored_prefixes() const { return {}; }

  /// The parameters that hold all experts of a layer.
  virtual std::vector<ExpertStack> expert_stacks() const { return {}; }

  /// Group 0 is the embedding (weight 0 is looked up by rows), then one a layer, then what follows
  /// the last layer.
  virtual std::vector<WeightGroupNames> weight_groups() const = 0;

  /// Scratch of a pass over `rows` rows, `logits_rows` of them to the head, without the kernels'
  /// own.
  virtual std::size_t workspace_bytes(std::int64_t rows, std::int64_t logits_rows) const = 0;

  /// Throws PlanError where a sequence has positions that the model does not know. Of every pass,
  /// before its weights are asked for: a recorded one runs without the steps below.
  virtual void check_positions(const Batch& /*batch*/) const {}

  /// The angles of a batch, for each rotary embedding that the forward pass asks of its Pass.
  virtual std::vector<RotaryTable> rotary_tables(const Batch& /*batch*/) const { return {}; }

  /// The slopes [heads] of linear biases (kernels/attention.h), which live as long as this does.
  virtual std::span<const float> alibi_slopes() const { return {}; }

  // A pass goes through the groups one after the other (PassFlight drives it). Each step gets its
  // group's weights, the residual stream x [pass.rows(), hidden_size] on the device that computes
  // the group, and nothing hidden: several passes may take turns at every step.

  /// Fills x with what the first layer reads of the pass's tokens. Throws FileError.
  virtual void embed_tokens(const Pass& pass, WeightStore& weights, std::span<float> x,
                            Device device, Runtime& runtime) const = 0;

  /// Brings x through a layer, whose weights are `w`, and stores keys and values of every row in
  /// the caches of its sequences; the caller advances them.
  virtual void decoder_layer(const WeightStore::Lease& w, std::int64_t layer, const Pass& pass,
                             std::span<float> x, Device device, Runtime& runtime) const = 0;

  /// Fills the result of the rows that pass.wanted() names; `w` are the weights of the last group.
  virtual void head(const WeightStore::Lease& w, const Pass& pass, std::span<const float> x,
                    const PassResult& result, Device device, Runtime& runtime) const = 0;
};

/// The architecture that config.json's `model_type` names. Throws UnsupportedError listing those
/// that are known, FormatError for values that make no sense.
std::unique_ptr<const Architecture> make_architecture(const Config& config);

}  // namespace shoehorn
