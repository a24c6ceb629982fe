// A layer's mixture of experts (arXiv:1701.06538): every row of x goes to the few experts that its
// router chooses. Rows are gathered per expert, multiplied together, and added back expert by
// expert in their order, so that a row's sum does not depend on the rows beside it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/blocks.h"
#include "model/runtime.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// From a router's logits to the experts of a row and their weights.
struct RouterRule {
  enum class Scores : std::uint8_t {
    kSoftmax,       // over all experts, the largest are taken (Mixtral, Qwen3-MoE)
    kSoftmaxOfTop,  // the largest logits are taken, then their softmax (gpt-oss)
    kSigmoid,       // with groups and a correction of what is chosen (DeepSeek-V3)
  };
  Scores scores = Scores::kSoftmax;
  std::int64_t experts = 0;
  std::int64_t chosen = 0;       // of each row
  bool normalize = false;        // weights are divided by their sum (kSigmoid: plus 1e-20)
  float scale = 1.0F;            // of the weights, last
  std::int64_t groups = 1;       // kSigmoid: equal runs of experts,
  std::int64_t best_groups = 1;  // of which so many are kept, by the sum of their two best scores
};

/// The experts of every row, and what their outputs are multiplied by; in host memory, since the
/// host decides which products there are.
struct Routing {
  std::int64_t chosen = 0;
  std::vector<std::int32_t> experts;  // [rows, chosen], ascending in each row
  std::vector<float> weights;         // [rows, chosen]

  Routing(const RouterRule& rule, std::int64_t rows)
      : chosen(rule.chosen),
        experts(static_cast<std::size_t>(rows * rule.chosen)),
        weights(experts.size()) {}
};

/// logits [rows, experts]; correction [experts] is added to the scores that choose, not to the
/// weights, or empty. Of equal scores the lower expert is taken; a row of NaN takes the first ones.
void route(const RouterRule& rule, std::span<const float> logits, std::span<const float> correction,
           Routing& routing);

/// The weights of a layer's experts.
struct ExpertWeights {
  enum class Glu : std::uint8_t {
    kPair,     // gate_up [2 · experts, I, D]: the gate of expert e, then its up part;
               // silu(gate) · up
    kClamped,  // gate_up [experts, 2I, D]: rows of gate and up take turns;
               // (up + 1) · gate · sigmoid(alpha · gate), both clamped (gpt-oss)
  };
  Glu glu = Glu::kPair;
  const WeightView* gate_up = nullptr;
  const WeightView* gate_up_bias = nullptr;  // [experts, 2I]; null: none
  const WeightView* down = nullptr;          // [experts, D, I]
  const WeightView* down_bias = nullptr;     // [experts, D]; null: none
  float limit = 0;                           // kClamped
  float alpha = 1;
};

/// x[i, :] += sum over the experts e of row i, ascending, of weight · e(h[i, :]); x and h
/// [rows, D] on `device`.
void add_experts(const ExpertWeights& w, const Routing& routing, std::span<const float> h,
                 std::int64_t rows, std::span<float> x, Device device, Runtime& runtime);

/// Floats of the workspace that a router's logits and add_experts() take, what hops over included.
std::int64_t experts_workspace_floats(const RouterRule& rule, std::int64_t rows,
                                      std::int64_t hidden_size, std::int64_t intermediate_size);

}  // namespace shoehorn
