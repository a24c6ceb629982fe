#include "model/attention_block.h"

#include <algorithm>

#include "kernels/split_columns.h"

namespace shoehorn {

AttentionBlock::AttentionBlock(const AttentionSpec& spec, const AttentionLayer& layer,
                               GroupBuilder& group)
    : spec_(&spec), layer_(layer) {
  if (spec.qkv.empty()) {
    q_ = group.add_linear(spec.q);
    k_ = group.add_linear(spec.k);
    v_ = group.add_linear(spec.v);
  } else {
    q_ = group.add_linear(spec.qkv);
  }
  q_norm_ = NormBlock(spec.q_norm, group);
  k_norm_ = NormBlock(spec.k_norm, group);
  if (!spec.sinks.empty()) sinks_ = group.add(spec.sinks);
  o_ = group.add_linear(spec.o);
}

void AttentionBlock::project_heads(const WeightStore::Lease& w, std::span<const float> h,
                                   std::int64_t rows, std::span<float> q, std::span<float> k,
                                   std::span<float> v, Device device, Runtime& runtime) const {
  if (spec_->qkv.empty()) {
    return project({{&w[q_.weight], &w[q_.bias], q},
                    {&w[k_.weight], &w[k_.bias], k},
                    {&w[v_.weight], &w[v_.bias], v}},
                   h, rows, device, runtime);
  }
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const auto qkv = ctx.workspace.take<float>(q.size() + k.size() + v.size());
  project({{&w[q_.weight], &w[q_.bias], qkv}}, h, rows, device, runtime);
  split_columns(qkv, rows, spec_->qkv_groups, {q, k, v}, ctx);
}

void AttentionBlock::run(const WeightStore::Lease& w, std::int64_t layer, const Pass& pass,
                         std::span<const float> h, std::span<float> y, bool accumulate,
                         Device device, Runtime& runtime) const {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const std::int64_t rows = pass.rows();
  const auto q = ctx.workspace.take<float>(static_cast<std::size_t>(rows * spec_->q_width()));
  const auto k = ctx.workspace.take<float>(static_cast<std::size_t>(rows * spec_->kv_width()));
  const auto v = ctx.workspace.take<float>(k.size());

  project_heads(w, h, rows, q, k, v, device, runtime);
  if (q_norm_.exists()) q_norm_.apply(w, q, q, device, runtime);
  if (k_norm_.exists()) k_norm_.apply(w, k, k, device, runtime);
  const auto attended = ctx.workspace.take<float>(q.size());
  AttentionParams params{.heads = spec_->heads,
                         .scale = layer_.scale,
                         .sliding_window = layer_.sliding_window,
                         .softcap = spec_->softcap};
  if (!spec_->alibi_slopes.empty()) {
    params.alibi = {.slopes = spec_->alibi_slopes.data(),
                    .scale = spec_->alibi_scale,
                    .in_bf16 = spec_->alibi_in_bf16};
  }
  if (!spec_->sinks.empty()) params.sinks = vector_on(device, w[sinks_], runtime).data();
  if (layer_.rotary == AttentionLayer::kNoRotary) {
    attend(params, pass, layer, q, k, v, attended, device, runtime);
  } else {
    rotate_and_attend(params, pass, static_cast<std::size_t>(layer_.rotary), spec_->pairs, layer, q,
                      k, v, attended, device, runtime);
  }
  project({{&w[o_.weight], &w[o_.bias], y, accumulate}}, attended, rows, device, runtime);
}

std::int64_t AttentionBlock::row_floats(const AttentionSpec& spec) {
  const std::int64_t heads = spec.q_width() + 2 * spec.kv_width();
  return heads + (spec.qkv.empty() ? spec.q_width() : std::max(spec.q_width(), heads));
}

}  // namespace shoehorn
