// Building blocks that architectures share: each reads like a box of a block diagram and takes care
// of devices, so that a weight is multiplied where it lives.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <vector>

#include "kernels/activation.h"
#include "model/pass.h"
#include "model/rope.h"
#include "model/runtime.h"
#include "quant/weight_form.h"
#include "weights/weight_store.h"

namespace shoehorn {

/// y[rows, N] = x[rows, K] · weightᵀ + bias; bias is null where the model has none.
struct Projection {
  const WeightView* weight;
  const WeightView* bias;
  std::span<float> y;
  bool accumulate = false;  // y += instead of y =
};

/// Gives a workspace back what was taken since.
class WorkspaceScope {
 public:
  explicit WorkspaceScope(Workspace& workspace) : workspace_(workspace), mark_(workspace.mark()) {}
  ~WorkspaceScope() { workspace_.release(mark_); }
  WorkspaceScope(const WorkspaceScope&) = delete;
  WorkspaceScope& operator=(const WorkspaceScope&) = delete;

 private:
  Workspace& workspace_;
  std::size_t mark_;
};

/// The residual stream of a pass. It lies at the bottom of the workspace of every device on the
/// route, and moving it is the one explicit operation at a boundary between devices.
class ActivationRow {
 public:
  ActivationRow(Runtime& runtime, std::int64_t floats, Device device);
  ~ActivationRow();
  ActivationRow(const ActivationRow&) = delete;
  ActivationRow& operator=(const ActivationRow&) = delete;

  std::span<float> span() { return on(device_); }
  void move_to(Device device);

 private:
  struct Place {
    Device device;
    std::size_t mark;
    std::span<float> floats;
  };
  std::span<float> on(Device device);

  Runtime& runtime_;
  Device device_;
  std::vector<Place> places_;
};

/// All projections of one x on `device`. A weight that lives on another device is multiplied there:
/// the activations hop over and back.
void project(std::span<const Projection> projections, std::span<const float> x, std::int64_t rows,
             Device device, Runtime& runtime);
inline void project(std::initializer_list<Projection> projections, std::span<const float> x,
                    std::int64_t rows, Device device, Runtime& runtime) {
  project(std::span(projections.begin(), projections.size()), x, rows, device, runtime);
}

/// Rows of x and what they are projected by.
struct ProjectionGroup {
  std::vector<Projection> projections;
  std::span<const float> x;
  std::int64_t rows = 0;
};

/// project() of every group, to the bit, in one loop where it can be (linear_groups()).
void project_groups(std::span<const ProjectionGroup> groups, Device device, Runtime& runtime);

/// gate.y = activation(gate) · up, as project() and gate_mul() give it; up.y is workspace.
void project_gated(Activation activation, const Projection& gate, const Projection& up,
                   std::span<const float> x, std::int64_t rows, Device device, Runtime& runtime);

/// A vector of weights (float32) as `device` sees it, copied over if it lives elsewhere. Valid
/// until the workspace of `device` is released.
std::span<const float> vector_on(Device device, const WeightView& weight, Runtime& runtime);

/// What numbers of a pass's rows say which rows of a table they take.
enum class LookUpBy { kId, kPosition };

/// out[i, :] = the row of `table` that row i of the pass has the number of, as float32: every
/// number is in range, the table in memory of any device, out [rows, width] on `device`.
void look_up(const WeightView& table, LookUpBy by, const Pass& pass, std::span<float> out,
             Device device, Runtime& runtime);

/// The rows of an embedding (weight `weight` of group `group`) for every id of the pass, into x
/// [rows, width] on `device`, wherever the embedding lives. Throws FileError.
void embed(const Pass& pass, std::size_t group, std::size_t weight, WeightStore& weights,
           std::span<float> x, Device device, Runtime& runtime);

RotaryTable rotary_table(const RotaryEmbedding& rotary, const Batch& batch);

/// Which entries of a head turn together: i and i + rotary_dim / 2, or 2i and 2i + 1.
enum class RotaryPairs { kHalves, kInterleaved };

/// Turns the first rotary_dim entries of every head of x [rows, heads, head_dim] in place.
void rotate(std::span<float> x, std::int64_t heads, std::int64_t head_dim, const RotaryView& rotary,
            RotaryPairs pairs, ExecContext& ctx);

/// Stores k and v [rows, num_key_value_heads, their width] in each sequence's cache and lets its
/// queries q [rows, params.heads, head_dim] attend to all it holds, causally, where the caches lie:
/// if that is not `device`, q, k, v and sinks hop there and `out` [rows, params.heads * value
/// width] back. `params.sinks` lie on `device`, the slopes of linear biases in host memory: kernels
/// of cards read those of the pass.
void attend(const AttentionParams& params, const Pass& pass, std::int64_t layer,
            std::span<const float> q, std::span<const float> k, std::span<const float> v,
            std::span<float> out, Device device, Runtime& runtime);

/// rotate() of q and k, then attend(): in fewer launches where a CUDA device does it all.
void rotate_and_attend(const AttentionParams& params, const Pass& pass, std::size_t rotary_table,
                       RotaryPairs pairs, std::int64_t layer, std::span<float> q,
                       std::span<float> k, std::span<const float> v, std::span<float> out,
                       Device device, Runtime& runtime);

/// What makes logits of the residual stream.
struct LanguageHead {
  /// Of rows [.., hidden_size]; the second may be the first.
  std::function<void(std::span<const float>, std::span<float>)> norm;
  std::int64_t hidden_size = 0;
  const WeightView* project_out = nullptr;  // OPT's, between norm and head; null: none
  const WeightView* weight = nullptr;
  const WeightView* bias = nullptr;
  float multiplier = 1;
  float softcap = 0;  // 0: none
};

/// logits[i, :] = cap(multiplier · (head · norm(x[pass.wanted()[i], :]) + bias)); x [rows,
/// hidden_size] on `device`. The result is the logits, or, of a CUDA device, the likeliest ids
/// alone.
void language_head(const LanguageHead& head, std::span<const float> x, const Pass& pass,
                   const PassResult& result, Device device, Runtime& runtime);

/// logits[i, :] = head · RMSNorm(x[pass.wanted()[i], :]).
void language_head(const WeightView& norm, const WeightView& head, float rms_norm_eps,
                   std::span<const float> x, const Pass& pass, const PassResult& result,
                   Device device, Runtime& runtime);

/// On a CUDA device the head computes so many rows at a time: a large vocabulary's logits of all
/// rows of a pass would take more room than its layers.
inline constexpr std::int64_t kCardLogitsRows = 64;

}  // namespace shoehorn
