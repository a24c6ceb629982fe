#include "model/loaded_model.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/argmax.h"
#include "kernels/attention.h"
#include "kernels/attention_cuda.h"
#include "kernels/linear.h"
#include "kernels/linear_cuda.h"
#include "kernels/rows_cuda.h"
#include "model/blocks.h"
#include "model/kv_file.h"
#include "model/pass.h"
#include "model/pass_flight.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kMaxPassRows = 512;

std::vector<Runtime::Place> places_of(const ModelParts& parts) {
  std::vector<Runtime::Place> places;
  const auto add = [&](Device device) {
    if (std::ranges::find(places, device, &Runtime::Place::device) != places.end()) return;
    const bool card = device.kind == DeviceKind::kCuda;
    places.push_back({device, card ? parts.card_workspace_bytes : parts.workspace_bytes});
  };
  add(Device{});
  for (const Route& route : parts.routes) {
    for (const Device device : route.group_devices) add(device);
  }
  for (const Device device : parts.kv_devices) add(device);
  for (const WeightGroup& group : parts.groups) {
    for (const WeightSpec& weight : group.weights) {
      if (weight.device.is_accelerator()) add(weight.device);
    }
  }
  return places;
}

/// The CUDA device that computes every group and holds every weight, if there is one.
std::optional<Device> only_card(const ModelParts& parts) {
  const Device device = parts.routes.front().group_devices.front();
  if (device.kind != DeviceKind::kCuda) return std::nullopt;
  for (const Device other : parts.routes.front().group_devices) {
    if (other != device) return std::nullopt;
  }
  for (const WeightGroup& group : parts.groups) {
    for (const WeightSpec& weight : group.weights) {
      if (weight.exists() && weight.device != device) return std::nullopt;
    }
  }
  return device;
}

/// Cuts the sequences into passes of at most `max_rows` rows, in order.
std::vector<Batch> cut_into_passes(std::span<const BatchSequence> sequences,
                                   std::int64_t max_rows) {
  std::vector<Batch> passes(1);
  for (const BatchSequence& sequence : sequences) {
    std::size_t done = 0;
    const std::int64_t start = sequence.kv->length();
    while (done < sequence.ids.size()) {
      auto room = static_cast<std::size_t>(max_rows - passes.back().rows());
      if (room == 0) {
        passes.emplace_back();
        room = static_cast<std::size_t>(max_rows);
      }
      const std::size_t count = std::min(room, sequence.ids.size() - done);
      BatchSequence part = sequence;
      part.ids = sequence.ids.subspan(done, count);
      part.positions = sequence.positions.subspan(done, count);
      part.start = start + static_cast<std::int64_t>(done);
      done += count;
      if (part.logits == BatchSequence::Logits::kLast && done < sequence.ids.size()) {
        part.logits = BatchSequence::Logits::kNone;
      }
      passes.back().sequences.push_back(part);
    }
  }
  return passes;
}

}  // namespace

std::int64_t pass_rows(std::int64_t max_context, std::int64_t max_batch) {
  return std::max(max_batch, std::min(kMaxPassRows, max_context));
}

std::size_t pass_workspace_bytes(const Architecture& architecture, std::int64_t max_rows,
                                 std::int64_t flight_rows, std::int64_t max_context, int threads) {
  const DecoderShape& shape = architecture.shape();
  std::size_t kernels = linear_workspace_bytes(max_rows, shape.widest_input, threads);
  for (const LayerKvShape& layer : shape.layers) {
    kernels = std::max(
        kernels, attention_workspace_bytes(max_rows, max_context, shape.num_attention_heads,
                                           layer.num_key_value_heads,
                                           std::max(layer.head_dim, layer.value_width()), threads));
  }
  return architecture.workspace_bytes(max_rows, max_rows) + kernels +
         PassFlight::residual_bytes(flight_rows, max_rows, shape.hidden_size);
}

std::size_t card_workspace_bytes(const Architecture& architecture, std::int64_t max_rows,
                                 std::int64_t max_batch, std::int64_t max_context, DType kv_dtype) {
  const DecoderShape& shape = architecture.shape();
  const std::int64_t widest_output = std::max(shape.widest_output, shape.vocab_size);
  std::size_t kernels =
      std::max(cuda::linear_workspace_bytes(max_rows, shape.widest_input, shape.widest_output),
               cuda::linear_workspace_bytes(kCardLogitsRows, shape.widest_input, widest_output));
  std::int64_t rotary_floats = 0;
  for (const LayerKvShape& layer : shape.layers) {
    kernels = std::max(kernels, cuda::attention_workspace_bytes(
                                    max_rows, max_batch, Pass::rounded_positions(max_context),
                                    shape.num_attention_heads, layer.value_width()) +
                                    kv_bytes(layer, kv_dtype, max_context));
    rotary_floats = std::max(rotary_floats, layer.head_dim);
  }
  const auto logits =
      static_cast<std::size_t>(kCardLogitsRows * (shape.vocab_size + 2 * shape.hidden_size)) *
      sizeof(float);
  return architecture.workspace_bytes(max_rows, 0) + kernels + logits +
         cuda::argmax_workspace_bytes(kCardLogitsRows) +
         Pass::table_bytes(max_rows, static_cast<std::int64_t>(shape.layers.size()),
                           shape.num_attention_heads, 2 * rotary_floats);
}

std::size_t kv_window_bytes(const Architecture& architecture, DType kv_dtype,
                            std::int64_t positions) {
  std::size_t most = 0;
  for (const LayerKvShape& layer : architecture.shape().layers) {
    most = std::max(most, kv_bytes(layer, kv_dtype, positions));
  }
  return most;
}

LoadedModel::LoadedModel(ModelParts parts) : parts_(std::move(parts)) {
  const std::vector<Runtime::Place> places = places_of(parts_);
  runtime_ = std::make_unique<Runtime>(*parts_.pool, parts_.isa, *parts_.memory, places);
  if (std::ranges::find(parts_.spilled_layers, true) != parts_.spilled_layers.end()) {
    window_ = std::make_unique<KvWindow>(
        kv_window_bytes(*parts_.architecture, parts_.kv_dtype, parts_.spill_positions),
        *parts_.memory);
  }
  if (parts_.adapters) {
    copy_adapters();
    runtime_->set_adapters(parts_.adapters.get());
  }
  if (const auto card = only_card(parts_); card && parts_.architecture->is_recordable()) {
    recorded_ = std::make_unique<RecordedPasses>(*runtime_, *card);
  }
  weights_ =
      std::make_unique<WeightStore>(*parts_.checkpoint, std::move(parts_.groups), *parts_.memory,
                                    *parts_.pool, parts_.isa, parts_.weights);
}

void LoadedModel::copy_adapters() {
  for (const Accelerator& accelerator : parts_.memory->accelerators()) {
    const Device device = accelerator.device;
    if (device.kind != DeviceKind::kCuda) continue;
    std::vector<bool> groups(parts_.groups.size());
    for (const Route& route : parts_.routes) {
      for (std::size_t g = 0; g < groups.size(); ++g) {
        if (route.group_devices[g] == device) groups[g] = true;
      }
    }
    if (std::ranges::find(groups, true) == groups.end()) continue;
    parts_.adapters->copy_to(device, groups, *parts_.memory, *runtime_);
  }
}

std::unique_ptr<KvCache> LoadedModel::new_kv_cache(std::int64_t capacity) const {
  KvSpill spill;
  if (window_) {
    if (capacity > parts_.spill_positions) {
      throw PlanError(str_cat("a sequence of ", capacity, " positions, and the plan has room for ",
                              parts_.spill_positions, "; a larger --max-context makes room"));
    }
    spill = {parts_.spilled_layers, parts_.spill_folder, window_.get()};
  }
  return std::make_unique<KvCache>(parts_.architecture->shape().layers, parts_.kv_devices,
                                   parts_.kv_dtype, capacity, *parts_.memory, spill);
}

void LoadedModel::write_kv(const std::filesystem::path& path, std::string_view key,
                           std::span<const std::int32_t> ids, KvCache& kv) const {
  const std::lock_guard lock(mutex_);
  write_kv_file(path, key, ids, kv, *runtime_);
}

std::vector<std::int32_t> LoadedModel::read_kv(const std::filesystem::path& path,
                                               std::string_view key, KvCache& kv) const {
  const std::lock_guard lock(mutex_);
  return read_kv_file(path, key, parts_.architecture->shape().vocab_size, kv, *runtime_);
}

std::size_t LoadedModel::kv_cache_bytes(std::int64_t capacity) const {
  std::size_t bytes = 0;
  const std::vector<LayerKvShape>& layers = parts_.architecture->shape().layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (i < parts_.spilled_layers.size() && parts_.spilled_layers[i]) continue;
    bytes += kv_bytes(layers[i], parts_.kv_dtype, capacity);
  }
  return bytes;
}

std::size_t LoadedModel::weight_bytes_per_pass() const {
  std::size_t bytes = 0;
  for (const WeightGroup& group : weights_->groups()) {
    for (const WeightSpec& weight : group.weights) {
      if (!weight.rows_only) bytes += form_bytes(weight);
    }
  }
  return bytes;
}

double LoadedModel::flops_per_token() const {
  double flops = 0;
  for (const WeightGroup& group : weights_->groups()) {
    for (const WeightSpec& weight : group.weights) {
      if (!weight.exists() || weight.rows_only || weight.shape.rank() < 2) continue;
      flops += 2 * static_cast<double>(weight.shape.elements());
    }
  }
  return flops;
}

void LoadedModel::check(std::span<const BatchSequence> sequences) const {
  const std::int64_t vocab_size = parts_.architecture->shape().vocab_size;
  for (const BatchSequence& sequence : sequences) {
    for (const std::int32_t id : sequence.ids) {
      if (id < 0 || id >= vocab_size) {
        throw ArgumentError(str_cat("token id ", id, " is outside the vocabulary of ", vocab_size));
      }
    }
    const std::int64_t needed =
        sequence.kv->length() + static_cast<std::int64_t>(sequence.ids.size());
    if (needed > sequence.kv->capacity()) {
      throw PlanError(str_cat("the context is full: ", needed, " positions, room for ",
                              sequence.kv->capacity(), "; a larger --max-context makes room"));
    }
  }
}

const Route& LoadedModel::route_of(std::int64_t rows) const {
  return *std::ranges::find_if(parts_.routes,
                               [rows](const Route& route) { return rows <= route.most_rows; });
}

std::int64_t LoadedModel::pass_rows(const Route& route) const {
  const auto on_card = [](Device device) { return device.kind == DeviceKind::kCuda; };
  const std::vector<WeightGroup>& groups = weights_->groups();
  for (std::size_t g = 1; g < groups.size(); ++g) {
    if (!on_card(route.group_devices[g])) return parts_.max_rows;
    if (std::ranges::find(route.brought, g) != route.brought.end()) continue;
    for (const WeightSpec& weight : groups[g].weights) {
      if (weight.exists() && !on_card(weight.device)) return parts_.max_rows;
    }
  }
  return std::max(parts_.card_rows, parts_.max_rows);
}

std::size_t LoadedModel::passes_at_once(const Route& route, std::int64_t rows) const {
  for (const Device device : route.group_devices) {
    if (device.kind == DeviceKind::kCuda) return 1;
  }
  return static_cast<std::size_t>(std::max<std::int64_t>(1, parts_.flight_rows / rows));
}

void LoadedModel::run_flight(std::span<const Batch> batches, const Route& route,
                             const PassResult& result) const {
  const PassFlight flight(batches, *parts_.architecture, *runtime_);
  std::vector<std::pair<std::size_t, Device>> brought;
  for (const std::size_t group : route.brought) {
    const bool is_head = group + 1 == route.group_devices.size();
    if (is_head && !flight.wants_result()) continue;
    brought.emplace_back(group, route.group_devices[group]);
  }
  weights_->begin_pass(brought);
  const auto forward = [&] { flight.forward(*weights_, result); };
  if (recorded_ && flight.size() == 1 && recorded_->run(flight.front(), forward, result)) return;
  forward();
}

void LoadedModel::restart_outgrown(std::span<const BatchSequence> sequences,
                                   const Route& route) const {
  const std::int64_t limit = parts_.architecture->short_context();
  if (limit == 0) return;
  for (const BatchSequence& sequence : sequences) {
    const std::int64_t held = sequence.kv->length();
    if (held == 0 || held > limit || sequence.call_length <= limit) continue;
    const std::vector<std::int32_t> ids = sequence.kv->ids();
    std::vector<std::int32_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    sequence.kv->truncate(0);
    const BatchSequence again{.ids = ids,
                              .positions = positions,
                              .kv = sequence.kv,
                              .call_length = sequence.call_length,
                              .logits = BatchSequence::Logits::kNone};
    run_passes({&again, 1}, route, {});
  }
}

void LoadedModel::run_passes(std::span<const BatchSequence> sequences, const Route& route,
                             const PassResult& result) const {
  restart_outgrown(sequences, route);
  const bool remembers = parts_.architecture->short_context() > 0;
  const auto vocab = static_cast<std::size_t>(parts_.architecture->shape().vocab_size);
  const std::int64_t rows = pass_rows(route);
  const std::vector<Batch> batches = cut_into_passes(sequences, rows);
  const std::size_t at_once = passes_at_once(route, rows);
  std::vector<std::int64_t> before;
  for (const BatchSequence& sequence : sequences) before.push_back(sequence.kv->length());
  runtime_->set_route(route);
  try {
    std::size_t done = 0;
    for (std::size_t first = 0; first < batches.size(); first += at_once) {
      const auto flight =
          std::span(batches).subspan(first, std::min(at_once, batches.size() - first));
      std::size_t wanted = 0;
      for (const Batch& batch : flight) wanted += batch.logits_rows().size();
      PassResult part;
      if (result.likeliest.empty()) {
        part.logits = result.logits.subspan(done * vocab, wanted * vocab);
      } else {
        part.likeliest = result.likeliest.subspan(done, wanted);
      }
      run_flight(flight, route, part);
      done += wanted;
      for (const Batch& batch : flight) {
        for (const BatchSequence& sequence : batch.sequences) {
          sequence.kv->advance(static_cast<std::int64_t>(sequence.ids.size()));
          if (!remembers) continue;
          std::vector<std::int32_t>& known = sequence.kv->ids();
          known.insert(known.end(), sequence.ids.begin(), sequence.ids.end());
        }
      }
    }
  } catch (...) {
    for (std::size_t i = 0; i < sequences.size(); ++i) sequences[i].kv->truncate(before[i]);
    throw;
  }
}

namespace {

std::int64_t rows_of(std::span<const BatchSequence> sequences) {
  std::int64_t rows = 0;
  for (const BatchSequence& sequence : sequences) {
    rows += static_cast<std::int64_t>(sequence.ids.size());
  }
  return rows;
}

}  // namespace

void LoadedModel::run(std::span<const BatchSequence> sequences, std::span<float> logits) const {
  check(sequences);
  const std::lock_guard lock(mutex_);
  run_passes(sequences, route_of(rows_of(sequences)), {.logits = logits});
}

void LoadedModel::run_likeliest(std::span<const BatchSequence> sequences,
                                std::span<std::int32_t> ids) const {
  check(sequences);
  const Route& route = route_of(rows_of(sequences));
  if (route.group_devices.back().kind == DeviceKind::kCuda) {
    const std::lock_guard lock(mutex_);
    return run_passes(sequences, route, {.logits = {}, .likeliest = ids});
  }
  const auto vocab = static_cast<std::size_t>(parts_.architecture->shape().vocab_size);
  std::vector<float> logits(ids.size() * vocab);
  run(sequences, logits);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = argmax(std::span(logits).subspan(i * vocab, vocab));
  }
}

}  // namespace shoehorn
