// A decoder layer of two parts, what attends and what follows, as mixtures of experts are made of:
// each part knows its modules, its weights and what it adds to the residual stream.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/expert_stack.h"
#include "model/pass.h"
#include "model/runtime.h"
#include "plan/module_tree.h"
#include "weights/weight_store.h"

namespace shoehorn {

/// The weights of a part: a run of those of its group.
class PartWeights {
 public:
  PartWeights(const WeightStore::Lease& lease, std::size_t first) : lease_(lease), first_(first) {}
  const WeightView& operator[](std::size_t i) const { return lease_[first_ + i]; }
  /// Without its first `count`.
  PartWeights after(std::size_t count) const { return {lease_, first_ + count}; }

 private:
  const WeightStore::Lease& lease_;
  std::size_t first_;
};

/// Where and of what a part computes.
struct PartInput {
  std::int64_t layer;
  const Pass& pass;
  std::span<const float> h;  // [rows, hidden_size], normed
  Device device;
  Runtime& runtime;
};

/// Immutable and thread-safe.
class LayerPart {
 public:
  virtual ~LayerPart() = default;

  /// Its module; floating parameters have `dtype`.
  virtual Module module(DType dtype) const = 0;
  /// Its weights, named below `path`, in the order that add() takes them; an empty name is a weight
  /// that this configuration does not have.
  virtual std::vector<std::string> weights(const std::string& path) const = 0;
  /// Those that hold something of every expert.
  virtual std::vector<ExpertStack> stacks(const std::string& /*path*/) const { return {}; }
  /// Floats of the workspace that add() takes at most, what hops to another device included.
  virtual std::int64_t workspace_floats(std::int64_t rows) const = 0;
  /// The widest input and output of its linear layers.
  virtual std::int64_t widest() const = 0;
  /// Of a part that attends, the positions that a token sees; 0: all.
  virtual std::int64_t sliding_window() const { return 0; }

  /// x [rows, hidden_size] += what the part makes of input.h.
  virtual void add(const PartWeights& w, const PartInput& input, std::span<float> x) const = 0;
};

/// torch.nn.Linear [out, in].
Module linear_module(std::int64_t out, std::int64_t in, bool bias, DType dtype);

/// A norm with a weight of `width` entries.
Module norm_module(const std::string& class_name, std::int64_t width, DType dtype);

/// Appends path.name.weight and, or an empty name for, path.name.bias.
void add_linear_names(const std::string& path, const std::string& name, bool bias,
                      std::vector<std::string>& weights);

}  // namespace shoehorn
