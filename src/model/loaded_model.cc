#include "model/loaded_model.h"

#include <algorithm>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/attention.h"
#include "kernels/linear.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kMaxPassRows = 512;

std::vector<Device> weight_devices(const std::vector<WeightGroup>& groups) {
  std::vector<Device> devices;
  for (const WeightGroup& group : groups) {
    for (const WeightSpec& weight : group.weights) {
      if (weight.device.is_accelerator()) devices.push_back(weight.device);
    }
  }
  return devices;
}

/// Cuts the sequences into passes of at most `max_rows` rows, in order.
std::vector<Batch> cut_into_passes(std::span<const BatchSequence> sequences,
                                   std::int64_t max_rows) {
  std::vector<Batch> passes(1);
  for (const BatchSequence& sequence : sequences) {
    std::size_t done = 0;
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
                                 std::int64_t max_context, int threads) {
  const DecoderShape& shape = architecture.shape();
  std::size_t kernels = linear_workspace_bytes(max_rows, shape.widest_input, threads);
  for (const LayerKvShape& layer : shape.layers) {
    kernels = std::max(
        kernels, attention_workspace_bytes(max_rows, max_context, shape.num_attention_heads,
                                           layer.num_key_value_heads, layer.head_dim, threads));
  }
  return architecture.workspace_bytes(max_rows, max_rows) + kernels;
}

LoadedModel::LoadedModel(ModelParts parts) : parts_(std::move(parts)) {
  runtime_ =
      std::make_unique<Runtime>(*parts_.pool, parts_.isa, *parts_.memory, parts_.group_devices,
                                weight_devices(parts_.groups), parts_.workspace_bytes);
  weights_ =
      std::make_unique<WeightStore>(*parts_.checkpoint, std::move(parts_.groups), *parts_.memory,
                                    *parts_.pool, parts_.isa, parts_.weights);
}

std::unique_ptr<KvCache> LoadedModel::new_kv_cache(std::int64_t capacity) const {
  const auto& layers = parts_.architecture->shape().layers;
  // Group 0 is the embedding; a layer's cache lies where the layer runs.
  const auto first = parts_.group_devices.begin() + 1;
  const std::vector<Device> devices(first, first + static_cast<std::ptrdiff_t>(layers.size()));
  return std::make_unique<KvCache>(layers, devices, parts_.kv_dtype, capacity, *parts_.memory);
}

std::size_t LoadedModel::kv_cache_bytes(std::int64_t capacity) const {
  std::size_t bytes = 0;
  for (const LayerKvShape& layer : parts_.architecture->shape().layers) {
    bytes += kv_bytes(layer, parts_.kv_dtype, capacity);
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

void LoadedModel::run(std::span<const BatchSequence> sequences, std::span<float> logits) const {
  check(sequences);
  const std::lock_guard lock(mutex_);
  std::vector<std::int64_t> before;
  for (const BatchSequence& sequence : sequences) before.push_back(sequence.kv->length());
  try {
    std::size_t at = 0;
    for (const Batch& pass : cut_into_passes(sequences, parts_.max_rows)) {
      const std::size_t size = pass.logits_rows().size() *
                               static_cast<std::size_t>(parts_.architecture->shape().vocab_size);
      parts_.architecture->forward(pass, *weights_, *runtime_, logits.subspan(at, size));
      at += size;
      for (const BatchSequence& sequence : pass.sequences) {
        sequence.kv->advance(static_cast<std::int64_t>(sequence.ids.size()));
      }
    }
  } catch (...) {
    for (std::size_t i = 0; i < sequences.size(); ++i) sequences[i].kv->truncate(before[i]);
    throw;
  }
}

}  // namespace shoehorn
