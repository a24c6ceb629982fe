#include "model/norm_block.h"

#include "kernels/copy.h"
#include "kernels/layer_norm.h"
#include "kernels/rms_norm.h"
#include "model/blocks.h"

namespace shoehorn {

NormBlock::NormBlock(const NormSpec& spec, GroupBuilder& group) : spec_(spec) {
  if (!exists()) return;
  for (std::int64_t i = 0; i < spec.modules; ++i) {
    weights_.push_back(group.add(spec.name + ".norms." + std::to_string(i) + ".weight"));
  }
  if (spec.modules == 0) weights_.push_back(group.add(spec.name + ".weight"));
  bias_ = group.add(spec.name + ".bias");
}

std::span<const float> NormBlock::weights(const WeightStore::Lease& w, Device device,
                                          Runtime& runtime) const {
  if (w[weights_.front()].data == nullptr) return {};
  if (weights_.size() == 1) return vector_on(device, w[weights_.front()], runtime);
  ExecContext& ctx = runtime.on(device);
  const auto all =
      ctx.workspace.take<float>(weights_.size() * static_cast<std::size_t>(spec_.width));
  std::vector<const float*> modules;
  for (const std::size_t weight : weights_) {
    modules.push_back(vector_on(device, w[weight], runtime).data());
  }
  stack_rows(modules, spec_.width, all, ctx);
  return all;
}

void NormBlock::apply(const WeightStore::Lease& w, std::span<const float> x, std::span<float> y,
                      Device device, Runtime& runtime) const {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const auto weight = weights(w, device, runtime);
  const std::int64_t rows = static_cast<std::int64_t>(x.size()) / spec_.width;
  if (spec_.kind == NormSpec::Kind::kRms) {
    return rms_norm(x, weight, spec_.eps, rows, y, ctx, spec_.weight_offset);
  }
  const auto bias =
      w[bias_].data == nullptr ? std::span<const float>{} : vector_on(device, w[bias_], runtime);
  layer_norm(x, weight, bias, spec_.eps, rows, spec_.width, y, ctx);
}

std::int64_t NormBlock::workspace_floats() const {
  // Rounded up to the alignment of every vector.
  const std::int64_t vector = spec_.width * spec_.weight_rows + 16;
  return exists() ? 2 * vector * static_cast<std::int64_t>(weights_.size()) + vector : 0;
}

}  // namespace shoehorn
