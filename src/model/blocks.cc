#include "model/blocks.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "kernels/attention_cuda.h"
#include "kernels/decode_row.h"
#include "kernels/kv_rows.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/rows_cuda.h"
#include "kernels/scale.h"
#include "model/adapter.h"

namespace shoehorn {
namespace {

/// Where a weight is multiplied: where it lives; staging slots are the CPU's memory.
Device home(const WeightView& weight) {
  return weight.device.is_accelerator() ? weight.device : Device{};
}

}  // namespace

ActivationRow::ActivationRow(Runtime& runtime, std::int64_t floats, Device device)
    : runtime_(runtime), device_(device) {
  for (const Device place : runtime.route_devices()) {
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
  const std::span<float> from = on(device_);
  runtime_.copy(device, on(device).data(), device_, from.data(), from.size_bytes());
  device_ = device;
}

namespace {

/// Of a weight that lives on the device; a bias that does not comes to its workspace.
LinearTask task_here(const Projection& projection, Device device, Runtime& runtime) {
  return {projection.weight,
          projection.bias->data == nullptr ? std::span<const float>{}
                                           : vector_on(device, *projection.bias, runtime),
          projection.y, projection.accumulate};
}

}  // namespace

void project(std::span<const Projection> projections, std::span<const float> x, std::int64_t rows,
             Device device, Runtime& runtime) {
  std::vector<LinearTask> here;
  here.reserve(projections.size());
  ExecContext& ctx = runtime.on(device);
  for (const Projection& projection : projections) {
    const Device place = home(*projection.weight);
    if (place == device) {
      here.push_back(task_here(projection, device, runtime));
      continue;
    }
    ExecContext& there = runtime.on(place);
    const WorkspaceScope scope(there.workspace);
    const auto x_there = there.workspace.take<float>(x.size());
    const auto y_there = there.workspace.take<float>(projection.y.size());
    runtime.copy(place, x_there.data(), device, x.data(), x.size_bytes());
    const auto bias = projection.bias->data == nullptr
                          ? std::span<const float>{}
                          : vector_on(place, *projection.bias, runtime);
    if (projection.accumulate) {
      runtime.copy(place, y_there.data(), device, projection.y.data(), y_there.size_bytes());
    }
    const LinearTask task{projection.weight, bias, y_there, projection.accumulate};
    linear_many({&task, 1}, x_there, rows, there);
    runtime.copy(device, projection.y.data(), place, y_there.data(), y_there.size_bytes());
  }
  if (!here.empty()) linear_many(here, x, rows, ctx);
  if (AdapterSet* const adapters = runtime.adapters()) {
    // On the device of the activations whatever the weight's: the same sums on any map.
    for (const Projection& projection : projections) {
      adapters->add_to(projection.y, *projection.weight, x, rows, device, ctx);
    }
  }
}

void project_groups(std::span<const ProjectionGroup> groups, Device device, Runtime& runtime) {
  const bool is_here = std::ranges::all_of(groups, [&](const ProjectionGroup& group) {
    return std::ranges::all_of(group.projections, [&](const Projection& projection) {
      return home(*projection.weight) == device &&
             (projection.bias->data == nullptr || home(*projection.bias) == device);
    });
  });
  if (!is_here || runtime.adapters() != nullptr) {
    for (const ProjectionGroup& group : groups) {
      const WorkspaceScope scope(runtime.on(device).workspace);
      project(group.projections, group.x, group.rows, device, runtime);
    }
    return;
  }
  std::vector<std::vector<LinearTask>> tasks;
  std::vector<LinearGroup> here;
  for (const ProjectionGroup& group : groups) {
    auto& of_group = tasks.emplace_back();
    for (const Projection& projection : group.projections) {
      of_group.push_back(task_here(projection, device, runtime));
    }
    here.push_back({of_group, group.x, group.rows});
  }
  linear_groups(here, runtime.on(device));
}

void project_gated(Activation activation, const Projection& gate, const Projection& up,
                   std::span<const float> x, std::int64_t rows, Device device, Runtime& runtime) {
  ExecContext& ctx = runtime.on(device);
  if (home(*gate.weight) == device && home(*up.weight) == device && runtime.adapters() == nullptr) {
    return linear_gated(activation, task_here(gate, device, runtime),
                        task_here(up, device, runtime), x, rows, ctx);
  }
  project({gate, up}, x, rows, device, runtime);
  gate_mul(activation, gate.y, up.y, gate.y, ctx);
}

std::span<const float> vector_on(Device device, const WeightView& weight, Runtime& runtime) {
  assert(weight.form == WeightForm{});
  const auto values = weight.as<float>();
  if (home(weight) == device) return values;
  const auto copy = runtime.on(device).workspace.take<float>(values.size());
  runtime.copy(device, copy.data(), home(weight), values.data(), values.size_bytes());
  return copy;
}

void look_up(const WeightView& table, LookUpBy by, const Pass& pass, std::span<float> out,
             Device device, Runtime& runtime) {
  const Device place = home(table);
  const bool on_card = place.kind == DeviceKind::kCuda;
  const DType dtype = table.form.dtype;
  const std::int64_t rows = pass.rows();
  const std::int64_t width = static_cast<std::int64_t>(out.size()) / rows;
  ExecContext& there = runtime.on(place);
  if (on_card && place == device) {
    const auto* const here = by == LookUpBy::kId ? pass.ids(device) : pass.positions(device);
    return cuda::fetch_rows(dtype, table.data, width, here, rows, out.data(), there);
  }
  std::vector<std::int32_t> numbers;
  for (const BatchSequence& sequence : pass.batch().sequences) {
    const auto some = by == LookUpBy::kId ? sequence.ids : sequence.positions;
    numbers.insert(numbers.end(), some.begin(), some.end());
  }
  const WorkspaceScope scope(there.workspace);
  const bool hops = on_card || device.kind == DeviceKind::kCuda;
  const auto found = hops ? there.workspace.take<float>(out.size()) : out;
  if (on_card) {
    const auto sent = there.workspace.take<std::int32_t>(numbers.size());
    runtime.copy(place, sent.data(), Device{}, numbers.data(), sent.size_bytes());
    cuda::fetch_rows(dtype, table.data, width, sent.data(), rows, found.data(), there);
  } else {
    const std::size_t row_bytes = packed_bytes(dtype, width).value();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      decode_row(dtype, table.data + static_cast<std::size_t>(numbers[i]) * row_bytes, width,
                 found.data() + i * static_cast<std::size_t>(width), there.isa);
    }
  }
  if (hops) runtime.copy(device, out.data(), place, found.data(), found.size_bytes());
}

void embed(const Pass& pass, std::size_t group, std::size_t weight, WeightStore& weights,
           std::span<float> x, Device device, Runtime& runtime) {
  const WeightView& table = weights.view(group, weight);
  if (table.data != nullptr) {
    return look_up(table, LookUpBy::kId, pass, x, device, runtime);
  }
  // On disk: its rows are read to host memory, one by one.
  Workspace& workspace = runtime.on(Device{}).workspace;
  const WorkspaceScope scope(workspace);
  const bool hops = device.kind == DeviceKind::kCuda;
  const auto read = hops ? workspace.take<float>(x.size()) : x;
  const std::size_t width = x.size() / static_cast<std::size_t>(pass.rows());
  std::size_t at = 0;
  for (const BatchSequence& sequence : pass.batch().sequences) {
    const std::size_t size = sequence.ids.size() * width;
    weights.fetch_rows(group, weight, sequence.ids, read.subspan(at, size));
    at += size;
  }
  if (hops) runtime.copy(device, x.data(), Device{}, read.data(), read.size_bytes());
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

void rotate(std::span<float> x, std::int64_t heads, std::int64_t head_dim, const RotaryView& rotary,
            RotaryPairs pairs, ExecContext& ctx) {
  const auto rows = static_cast<std::int64_t>(x.size()) / (heads * head_dim);
  const auto rotary_dim = 2 * static_cast<std::int64_t>(rotary.cos.size()) / rows;
  const RotaryShape shape{
      .rows = rows, .heads = heads, .head_dim = head_dim, .rotary_dim = rotary_dim};
  const auto apply = pairs == RotaryPairs::kHalves ? apply_rotary_halves : apply_rotary_pairs;
  apply(x, shape, rotary.cos, rotary.sin, ctx);
}

namespace {

/// Queries, keys and values of a pass, and where the result goes, all on one device.
struct Heads {
  std::span<const float> q;
  std::span<const float> k;
  std::span<const float> v;
  std::span<float> out;
};

cuda::AttentionJob card_job(const AttentionParams& params, const Pass& pass, std::int64_t layer,
                            const Heads& heads, Device device, const cuda::KvPlace* places) {
  const auto& sequences = pass.batch().sequences;
  const KvCacheView cache = sequences.front().kv->layer(layer);
  AttentionParams on_card = params;
  if (params.alibi.slopes != nullptr) on_card.alibi.slopes = pass.alibi_slopes(device);
  return {.q = heads.q.data(),
          .k = heads.k.data(),
          .v = heads.v.data(),
          .out = heads.out.data(),
          .sequences = pass.sequences(device),
          .places = places,
          .sequence_count = static_cast<std::int64_t>(sequences.size()),
          .rows = pass.rows(),
          .most_rows = pass.most_rows(),
          .most_positions = pass.most_positions(),
          .dtype = cache.dtype,
          .kv_heads = cache.kv_heads,
          .head_dim = cache.head_dim,
          .value_dim = cache.value_width(),
          .params = on_card};
}

void attend_on_host(const AttentionParams& params, const Pass& pass, std::int64_t layer,
                    const Heads& heads, ExecContext& ctx) {
  const auto rows = static_cast<std::size_t>(pass.rows());
  const std::size_t q_width = heads.q.size() / rows;
  const std::size_t k_width = heads.k.size() / rows;
  const std::size_t v_width = heads.v.size() / rows;
  const std::size_t out_width = heads.out.size() / rows;
  std::size_t row = 0;
  for (const BatchSequence& sequence : pass.batch().sequences) {
    const std::size_t count = sequence.ids.size();
    const std::int64_t start = sequence.start;
    const KvCacheView cache = sequence.kv->load(layer, start);
    store_kv(heads.k.subspan(row * k_width, count * k_width),
             heads.v.subspan(row * v_width, count * v_width), start, cache, ctx);
    sequence.kv->store(layer, start, static_cast<std::int64_t>(count));
    attention(heads.q.subspan(row * q_width, count * q_width), start, cache, params,
              heads.out.subspan(row * out_width, count * out_width), ctx);
    row += count;
  }
}

void attend_here(const AttentionParams& params, const Pass& pass, std::int64_t layer,
                 const Heads& heads, Device device, ExecContext& ctx) {
  if (device.kind != DeviceKind::kCuda) return attend_on_host(params, pass, layer, heads, ctx);
  const auto job = card_job(params, pass, layer, heads, device, pass.places(layer, device));
  cuda::store_kv(job, ctx);
  cuda::attention(job, ctx);
}

// Fewer new tokens than these attend where the cache lies: it is larger than they are.
constexpr std::int64_t kRowsWorthACache = 16;

/// A layer's cache of one sequence in host memory, and its copy on a card.
struct BroughtCache {
  KvCacheView host;
  std::int64_t start = 0;
  std::int64_t count = 0;
  std::byte* keys = nullptr;
  std::byte* values = nullptr;

  std::int64_t positions() const { return start + count; }
  std::size_t key_bytes() const { return bytes_of(host.head_dim); }
  std::size_t value_bytes() const { return bytes_of(host.value_width()); }
  /// Positions [first, first + n) of every head.
  void copy(const cuda::Queue& queue, std::int64_t first, std::int64_t n, bool to_card) const {
    copy_rows(queue, host.keys, keys, host.head_dim, first, n, to_card);
    copy_rows(queue, host.values, values, host.value_width(), first, n, to_card);
  }

 private:
  std::size_t bytes_of(std::int64_t width) const {
    return static_cast<std::size_t>(host.kv_heads * positions()) * kv_row_bytes(host.dtype, width);
  }
  void copy_rows(const cuda::Queue& queue, std::byte* there, std::byte* here, std::int64_t width,
                 std::int64_t first, std::int64_t n, bool to_card) const {
    const std::size_t row_bytes = kv_row_bytes(host.dtype, width);
    const std::size_t host_stride = static_cast<std::size_t>(host.capacity) * row_bytes;
    const std::size_t card_stride = static_cast<std::size_t>(positions()) * row_bytes;
    const std::size_t offset = static_cast<std::size_t>(first) * row_bytes;
    const cuda::StridedRuns runs{.run_bytes = static_cast<std::size_t>(n) * row_bytes,
                                 .count = static_cast<std::size_t>(host.kv_heads),
                                 .to_stride = to_card ? card_stride : host_stride,
                                 .from_stride = to_card ? host_stride : card_stride};
    std::byte* const to = to_card ? here : there;
    const std::byte* const from = to_card ? there : here;
    cuda::copy_runs_async(queue, to + offset, from + offset, runs);
  }
};

/// A long prompt on a card whose layer keeps its cache in host memory: the cache comes, grows, and
/// its new positions go back. False, and nothing is done, where the workspace has no room for it.
bool attend_brought(const AttentionParams& params, const Pass& pass, std::int64_t layer,
                    const Heads& heads, Device device, Runtime& runtime) {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  std::vector<BroughtCache> caches;
  std::size_t bytes = 0;
  for (const BatchSequence& sequence : pass.batch().sequences) {
    caches.push_back({.host = sequence.kv->layer(layer),
                      .start = sequence.start,
                      .count = static_cast<std::int64_t>(sequence.ids.size())});
    bytes += caches.back().key_bytes() + caches.back().value_bytes() + 2 * std::size_t{64};
  }
  const std::size_t kernels = cuda::attention_workspace_bytes(
      pass.rows(), static_cast<std::int64_t>(caches.size()), pass.most_positions(), params.heads,
      caches.front().host.value_width());
  const std::size_t table_bytes = caches.size() * sizeof(cuda::KvPlace) + 64;
  if (ctx.workspace.size() - ctx.workspace.mark() < bytes + kernels + table_bytes) return false;

  std::vector<cuda::KvPlace> places;
  for (BroughtCache& cache : caches) {
    cache.keys = ctx.workspace.take<std::byte>(cache.key_bytes()).data();
    cache.values = ctx.workspace.take<std::byte>(cache.value_bytes()).data();
    places.push_back({cache.keys, cache.values, cache.positions()});
    cache.copy(*ctx.queue, 0, cache.start, /*to_card=*/true);
  }
  const auto table = ctx.workspace.take<cuda::KvPlace>(places.size());
  cuda::upload(*ctx.queue, table.data(), places.data(), places.size() * sizeof(cuda::KvPlace));
  const auto job = card_job(params, pass, layer, heads, device, table.data());
  cuda::store_kv(job, ctx);
  cuda::attention(job, ctx);
  for (const BroughtCache& cache : caches) {
    cache.copy(*ctx.queue, cache.start, cache.count, /*to_card=*/false);
  }
  ctx.queue->synchronize();  // the host may read its caches now
  return true;
}

}  // namespace

void attend(const AttentionParams& params, const Pass& pass, std::int64_t layer,
            std::span<const float> q, std::span<const float> k, std::span<const float> v,
            std::span<float> out, Device device, Runtime& runtime) {
  const Device home = pass.batch().sequences.front().kv->device(layer);
  ExecContext& ctx = runtime.on(home);
  const Heads heads{q, k, v, out};
  if (home == device) return attend_here(params, pass, layer, heads, device, ctx);
  const bool can_come = home.kind != DeviceKind::kCuda && device.kind == DeviceKind::kCuda;
  if (can_come && pass.most_rows() >= kRowsWorthACache &&
      attend_brought(params, pass, layer, heads, device, runtime)) {
    return;
  }
  const WorkspaceScope scope(ctx.workspace);
  const auto hop = [&](std::span<const float> values) {
    const auto there = ctx.workspace.take<float>(values.size());
    runtime.copy(home, there.data(), device, values.data(), values.size_bytes());
    return there;
  };
  const std::span<float> q_there = hop(q);
  const std::span<float> k_there = hop(k);
  const std::span<float> v_there = hop(v);
  const std::span<float> out_there =
      out.size() == q.size() ? q_there : ctx.workspace.take<float>(out.size());
  AttentionParams there = params;
  if (params.sinks != nullptr) {
    there.sinks = hop({params.sinks, static_cast<std::size_t>(params.heads)}).data();
  }
  attend_here(there, pass, layer, {q_there, k_there, v_there, out_there}, home, ctx);
  runtime.copy(device, out.data(), home, out_there.data(), out_there.size_bytes());
}

void rotate_and_attend(const AttentionParams& params, const Pass& pass, std::size_t rotary_table,
                       RotaryPairs pairs, std::int64_t layer, std::span<float> q,
                       std::span<float> k, std::span<const float> v, std::span<float> out,
                       Device device, Runtime& runtime) {
  ExecContext& ctx = runtime.on(device);
  const RotaryView rotary = pass.rotary(rotary_table, device);
  const KvCache& first = *pass.batch().sequences.front().kv;
  const bool in_one_launch = device.kind == DeviceKind::kCuda && first.device(layer) == device;
  if (in_one_launch && pairs == RotaryPairs::kHalves) {
    const Heads heads{q, k, v, out};
    const auto job = card_job(params, pass, layer, heads, device, pass.places(layer, device));
    const auto rotary_dim = 2 * static_cast<std::int64_t>(rotary.cos.size()) / pass.rows();
    cuda::rotate_halves_and_store(job, q.data(), rotary.cos.data(), rotary.sin.data(), rotary_dim,
                                  ctx);
    return cuda::attention(job, ctx);
  }
  const auto head_dim = static_cast<std::int64_t>(q.size()) / (pass.rows() * params.heads);
  const auto kv_heads = static_cast<std::int64_t>(k.size()) / (pass.rows() * head_dim);
  rotate(q, params.heads, head_dim, rotary, pairs, ctx);
  rotate(k, kv_heads, head_dim, rotary, pairs, ctx);
  attend(params, pass, layer, q, k, v, out, device, runtime);
}

namespace {

/// out[i, :] = x[pass.wanted()[first + i], :]
void gather_wanted(const Pass& pass, std::size_t first, std::span<const float> x, std::size_t width,
                   std::span<float> out, Device device, ExecContext& ctx) {
  const std::size_t count = out.size() / width;
  if (device.kind == DeviceKind::kCuda) {
    return cuda::gather_rows(x.data(), static_cast<std::int64_t>(width),
                             pass.wanted_rows(device) + first, static_cast<std::int64_t>(count),
                             out.data(), ctx);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const auto row = static_cast<std::size_t>(pass.wanted()[first + i]);
    std::ranges::copy(x.subspan(row * width, width),
                      out.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
}

}  // namespace

void language_head(const LanguageHead& head, std::span<const float> x, const Pass& pass,
                   const PassResult& result, Device device, Runtime& runtime) {
  ExecContext& ctx = runtime.on(device);
  const bool on_card = device.kind == DeviceKind::kCuda;
  assert(on_card || result.likeliest.empty());
  const auto width = static_cast<std::size_t>(head.hidden_size);
  const auto vocab = static_cast<std::size_t>(head.weight->shape[0]);
  const std::size_t wanted = pass.wanted().size();
  const std::size_t step = on_card ? static_cast<std::size_t>(kCardLogitsRows) : wanted;
  const WeightView none{};
  for (std::size_t first = 0; first < wanted; first += step) {
    const WorkspaceScope scope(ctx.workspace);
    const std::size_t count = std::min(step, wanted - first);
    auto last = ctx.workspace.take<float>(count * width);
    const auto y = on_card ? ctx.workspace.take<float>(count * vocab)
                           : result.logits.subspan(first * vocab, count * vocab);
    const auto rows = static_cast<std::int64_t>(count);
    gather_wanted(pass, first, x, width, last, device, ctx);
    head.norm(last, last);
    if (head.project_out != nullptr) {
      const auto out_width = static_cast<std::size_t>(head.project_out->shape[0]);
      const auto projected = ctx.workspace.take<float>(count * out_width);
      project({{head.project_out, &none, projected}}, last, rows, device, runtime);
      last = projected;
    }
    project({{head.weight, head.bias == nullptr ? &none : head.bias, y}}, last, rows, device,
            runtime);
    if (head.multiplier != 1) scale(y, head.multiplier, ctx);
    if (head.softcap > 0) soft_cap(y, head.softcap, ctx);
    if (!result.likeliest.empty()) {
      const auto best = ctx.workspace.take<std::int32_t>(count);
      cuda::argmax(y.data(), rows, static_cast<std::int64_t>(vocab), best.data(), ctx);
      runtime.deliver(device, best.data(), result.likeliest.data() + first, best.size_bytes());
    } else if (on_card) {
      runtime.deliver(device, y.data(), result.logits.data() + first * vocab, y.size_bytes());
    }
  }
}

void language_head(const WeightView& norm, const WeightView& head, float rms_norm_eps,
                   std::span<const float> x, const Pass& pass, const PassResult& result,
                   Device device, Runtime& runtime) {
  const std::int64_t width = norm.shape.elements();
  const auto rms = [&](std::span<const float> from, std::span<float> to) {
    const std::int64_t rows = static_cast<std::int64_t>(from.size()) / width;
    rms_norm(from, vector_on(device, norm, runtime), rms_norm_eps, rows, to, runtime.on(device));
  };
  language_head({.norm = rms, .hidden_size = width, .weight = &head}, x, pass, result, device,
                runtime);
}

}  // namespace shoehorn
