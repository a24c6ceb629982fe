#include "model/mlp_block.h"

#include "kernels/split_columns.h"

namespace shoehorn {

MlpBlock::MlpBlock(const MlpSpec& spec, GroupBuilder& group) : spec_(&spec) {
  if (!spec.gate_up.empty()) {
    gate_ = group.add_linear(spec.gate_up);
  } else {
    if (!spec.gate.empty()) gate_ = group.add_linear(spec.gate);
    up_ = group.add_linear(spec.up);
  }
  down_ = group.add_linear(spec.down);
}

void MlpBlock::run(const WeightStore::Lease& w, std::span<const float> h, std::int64_t rows,
                   std::span<float> y, bool accumulate, Device device, Runtime& runtime) const {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const auto inner = static_cast<std::size_t>(rows * spec_->intermediate_size);
  const auto first = ctx.workspace.take<float>(inner);
  if (!spec_->is_gated()) {
    project({{&w[up_.weight], &w[up_.bias], first}}, h, rows, device, runtime);
    activate(spec_->activation, first, first, ctx);
  } else {
    const auto up = ctx.workspace.take<float>(inner);
    if (spec_->gate_up.empty()) {
      project_gated(spec_->activation, {&w[gate_.weight], &w[gate_.bias], first},
                    {&w[up_.weight], &w[up_.bias], up}, h, rows, device, runtime);
    } else {
      const WorkspaceScope both_scope(ctx.workspace);
      const auto both = ctx.workspace.take<float>(2 * inner);
      project({{&w[gate_.weight], &w[gate_.bias], both}}, h, rows, device, runtime);
      split_columns(both, rows, 1, {first, up}, ctx);
      gate_mul(spec_->activation, first, up, first, ctx);
    }
  }
  project({{&w[down_.weight], &w[down_.bias], y, accumulate}}, first, rows, device, runtime);
}

std::int64_t MlpBlock::row_floats(const MlpSpec& spec) {
  const std::int64_t runs = !spec.gate_up.empty() ? 4 : spec.is_gated() ? 2 : 1;
  return runs * spec.intermediate_size;
}

}  // namespace shoehorn
