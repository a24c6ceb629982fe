// The mlp of a layer: second(act(first(x))), or with a gate down(act(gate(x)) · up(x)), where gate
// and up are two matrices or the two halves of one.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernels/activation.h"
#include "model/blocks.h"
#include "model/weight_slots.h"

namespace shoehorn {

struct MlpSpec {
  std::int64_t intermediate_size = 0;
  Activation activation = Activation::kSilu;
  // Modules within the layer: gate and up; or gate_up, whose rows are gate's, then up's; or up
  // alone, which is then the first matrix of a plain mlp.
  std::string gate = {};
  std::string up = {};
  std::string gate_up = {};
  std::string down = {};

  bool is_gated() const { return !gate.empty() || !gate_up.empty(); }
};

class MlpBlock {
 public:
  MlpBlock() = default;
  /// Names its weights. `spec` outlives the block.
  MlpBlock(const MlpSpec& spec, GroupBuilder& group);

  /// y = (or += where `accumulate`) mlp(h), both [rows, hidden_size]; y may be h.
  void run(const WeightStore::Lease& w, std::span<const float> h, std::int64_t rows,
           std::span<float> y, bool accumulate, Device device, Runtime& runtime) const;

  /// Floats of workspace that run() takes for each row, without what hops to other devices.
  static std::int64_t row_floats(const MlpSpec& spec);

 private:
  const MlpSpec* spec_ = nullptr;
  LinearSlots gate_;  // or of gate_up
  LinearSlots up_;
  LinearSlots down_;
};

}  // namespace shoehorn
