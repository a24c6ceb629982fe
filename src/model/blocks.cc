#include "model/blocks.h"

#include <algorithm>
#include <cassert>

#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"

namespace shoehorn {
namespace {

/// Where a weight is multiplied: where it lives; staging slots are the CPU's memory.
Device home(const WeightView& weight) {
  return weight.device.is_accelerator() ? weight.device : Device{};
}

}  // namespace

ActivationRow::ActivationRow(Runtime& runtime, std::int64_t floats, Device device)
    : runtime_(runtime), device_(device) {
  for (const Device place : runtime.devices()) {
    Workspace& workspace = runtime.on(place).workspace;
    const std::size_t mark = workspace.mark();
    places_.push_back({place, mark, workspace.take<float>(static_cast<std::size_t>(floats))});
  }
}

ActivationRow::~ActivationRow() {
  for (const Place& place : places_) runtime_.on(place.device).workspace.release(place.mark);
}

std::span<float> ActivationRow::on(Device device) {
  return std::ranges::find(places_, device, &Place::device)->floats;
}

void ActivationRow::move_to(Device device) {
  if (device == device_) return;
  std::ranges::copy(on(device_), on(device).begin());
  device_ = device;
}

void project(std::initializer_list<Projection> projections, std::span<const float> x,
             std::int64_t rows, Device device, Runtime& runtime) {
  std::vector<LinearTask> here;
  here.reserve(projections.size());
  ExecContext& ctx = runtime.on(device);
  for (const Projection& projection : projections) {
    const Device place = home(*projection.weight);
    if (place == device) {
      here.push_back({projection.weight,
                      projection.bias->data == nullptr
                          ? std::span<const float>{}
                          : vector_on(device, *projection.bias, runtime),
                      projection.y});
      continue;
    }
    ExecContext& there = runtime.on(place);
    const WorkspaceScope scope(there.workspace);
    const auto x_there = there.workspace.take<float>(x.size());
    const auto y_there = there.workspace.take<float>(projection.y.size());
    std::ranges::copy(x, x_there.begin());
    const auto bias = projection.bias->data == nullptr
                          ? std::span<const float>{}
                          : vector_on(place, *projection.bias, runtime);
    linear(*projection.weight, bias, x_there, rows, y_there, there);
    std::ranges::copy(y_there, projection.y.begin());
  }
  if (!here.empty()) linear_many(here, x, rows, ctx);
}

std::span<const float> vector_on(Device device, const WeightView& weight, Runtime& runtime) {
  assert(weight.form == WeightForm{});
  const auto values = weight.as<float>();
  if (home(weight) == device) return values;
  const auto copy = runtime.on(device).workspace.take<float>(values.size());
  std::ranges::copy(values, copy.begin());
  return copy;
}

RotaryTable rotary_table(const RotaryEmbedding& rotary, const Batch& batch) {
  const auto half = static_cast<std::size_t>(rotary.rotary_dim() / 2);
  const std::size_t size = static_cast<std::size_t>(batch.rows()) * half;
  RotaryTable table{std::vector<float>(size), std::vector<float>(size)};
  std::size_t at = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    const std::size_t count = sequence.ids.size() * half;
    const auto frequencies = rotary.frequencies(sequence.call_length, sequence.kv->rope_state());
    rotary.table(sequence.positions, frequencies, std::span(table.cos).subspan(at, count),
                 std::span(table.sin).subspan(at, count));
    at += count;
  }
  return table;
}

void rotate_halves(std::span<float> x, std::int64_t heads, std::int64_t head_dim,
                   const RotaryTable& rotary, ExecContext& ctx) {
  const auto rows = static_cast<std::int64_t>(x.size()) / (heads * head_dim);
  const auto rotary_dim = 2 * static_cast<std::int64_t>(rotary.cos.size()) / rows;
  apply_rotary_halves(
      x, {.rows = rows, .heads = heads, .head_dim = head_dim, .rotary_dim = rotary_dim}, rotary.cos,
      rotary.sin, ctx);
}

void attend(const AttentionParams& params, const Batch& batch, std::int64_t layer,
            std::span<const float> q, std::span<const float> k, std::span<const float> v,
            std::span<float> out, ExecContext& ctx) {
  const auto rows = static_cast<std::size_t>(batch.rows());
  const std::size_t q_width = q.size() / rows;
  const std::size_t kv_width = k.size() / rows;
  std::size_t row = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    const std::size_t count = sequence.ids.size();
    const KvCacheView cache = sequence.kv->layer(layer);
    const std::int64_t start = sequence.kv->length();
    store_kv(k.subspan(row * kv_width, count * kv_width),
             v.subspan(row * kv_width, count * kv_width), start, cache, ctx);
    attention(q.subspan(row * q_width, count * q_width), start, cache, params,
              out.subspan(row * q_width, count * q_width), ctx);
    row += count;
  }
}

void language_head(const WeightView& norm, const WeightView& head, float rms_norm_eps,
                   std::span<const float> x, std::span<const std::int64_t> wanted,
                   std::span<float> logits, Device device, Runtime& runtime) {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const auto width = static_cast<std::size_t>(norm.shape.elements());
  const auto rows = static_cast<std::int64_t>(wanted.size());
  const auto last = ctx.workspace.take<float>(wanted.size() * width);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto row = x.subspan(static_cast<std::size_t>(wanted[i]) * width, width);
    std::ranges::copy(row, last.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
  rms_norm(last, vector_on(device, norm, runtime), rms_norm_eps, rows, last, ctx);
  const WeightView no_bias{};
  project({{&head, &no_bias, logits}}, last, rows, device, runtime);
}

}  // namespace shoehorn
