// from_pretrained: the main path's first step. Opens, plans, loads.

#include <chrono>
#include <utility>

#include "shoehorn/cache.h"
#include "shoehorn/error.h"
#include "shoehorn/model.h"

#include "api/generation_defaults.h"
#include "api/machine_limits.h"
#include "api/model_impl.h"
#include "api/plan_report.h"
#include "api/prepare.h"
#include "api/routes.h"
#include "api/speculation.h"
#include "base/drive_choice.h"
#include "base/str_cat.h"
#include "checkpoint/peft_adapter.h"
#include "plan/size_string.h"
#include "weights/weight_cache.h"

namespace shoehorn {
namespace {

/// How the drive of the checkpoint's largest file is read.
IoMode choose_io_of(const Checkpoint& checkpoint) {
  const File* const largest = largest_file(checkpoint);
  if (largest == nullptr) return forced_io_mode().value_or(IoMode{});
  return choose_io(*largest, drive_choices_path());
}

WeightCacheOptions weight_cache_options(const LoadOptions& options) {
  WeightCacheOptions cache{.folder = weight_cache_folder(options.offload_folder)};
  if (!options.offload_cache_limit.empty()) {
    cache.limit_bytes = parse_size(options.offload_cache_limit);
  }
  if (options.on_progress) {
    cache.on_progress = [&options](std::size_t done, std::size_t total) {
      options.on_progress("quantizing", done, total);
    };
  }
  return cache;
}

/// A line for each adapter: which file, and how much of it.
std::string adapters_key(const std::vector<AdapterOptions>& adapters) {
  std::string key;
  for (const AdapterOptions& adapter : adapters) {
    const PeftAdapter opened(adapter.path);
    const std::vector<TensorInfo>& tensors = opened.tensors().tensors();
    if (tensors.empty()) continue;
    key += str_cat("adapter ", opened.tensors().identity_of(tensors.front()), " scale ",
                   adapter.scale, "\n");
  }
  return key;
}

ModelParts model_parts(PreparedModel& prepared, const LoadOptions& options) {
  const RunShape& shape = prepared.shape;
  ModelParts parts;
  parts.groups = place_weights(
      prepared.opened.resolved, [&](std::string_view path) { return prepared.device_of(path); },
      prepared.opened.compute_of, prepared.opened.parity);
  set_routes(prepared, options.link_share, parts);
  parts.memory = std::make_unique<DeviceMemory>(prepared.machine.accelerators);
  for (const auto& [key, device] : prepared.machine.devices) {
    // Sessions beyond what was planned are refused, not killed.
    if (device.limit_bytes > device.process_bytes) {
      parts.memory->set_limit(prepared.device_of(key), device.limit_bytes - device.process_bytes);
    }
  }
  parts.pool = std::make_unique<ThreadPool>(shape.threads);
  parts.isa = shape.isa;
  const WeightCacheOptions cache = weight_cache_options(options);
  fill_weight_cache(*prepared.opened.checkpoint, parts.groups, cache, *parts.pool, parts.isa);
  parts.kv_dtype = shape.kv_dtype;
  parts.spilled_layers = shape.spilled_layers;
  parts.spill_folder = cache.folder;
  parts.spill_positions = shape.max_context;
  parts.max_rows = shape.max_rows;
  parts.flight_rows = shape.flight_rows;
  parts.workspace_bytes = shape.workspace_bytes;
  parts.card_rows = shape.card_rows;
  parts.card_workspace_bytes = shape.card_workspace_bytes;
  parts.weights.io = forced_io_mode().value_or(IoMode{});
  if (prepared.plan.staging_slots > 0) {
    parts.weights.staging_slots = prepared.plan.staging_slots;
    parts.weights.io = choose_io_of(*prepared.opened.checkpoint);
    parts.weights.verify = options.verify_weights;
  }
  if (options.on_progress) {
    parts.weights.on_progress = [&options](std::size_t done, std::size_t total) {
      options.on_progress("loading", done, total);
    };
  }
  parts.adapters = std::move(prepared.opened.adapters);
  parts.checkpoint = std::move(prepared.opened.checkpoint);
  parts.architecture = std::move(prepared.opened.architecture);
  return parts;
}

}  // namespace

Model from_pretrained(const std::string& model, const LoadOptions& options) {
  auto impl = std::make_unique<Model::Impl>();
  impl->draft = load_draft(options);
  const auto prepared_model = prepare_model(model, options, /*assume=*/"", options.measure_rates,
                                            impl->draft ? unused_bytes(*impl->draft) : 0);
  PreparedModel& prepared = *prepared_model;
  if (impl->draft) {
    require_same_vocabulary(*impl->draft, options.draft_model, prepared.opened.tokenizer.get(),
                            prepared.opened.architecture->shape().vocab_size);
  }
  impl->adapters_key = adapters_key(options.adapters);
  impl->generation_config = generation_defaults(*prepared.opened.checkpoint, options.on_note);
  impl->hf_device_map = prepared.hf_device_map();
  impl->plan_text = plan_report_text(prepared, /*unicode=*/true);
  impl->plan_json = plan_report_json(prepared);
  const auto start = std::chrono::steady_clock::now();
  impl->loaded = std::make_unique<const LoadedModel>(model_parts(prepared, options));
  impl->load_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  impl->speculation_obstacle = speculation_obstacle(*impl->loaded, prepared.shape);
  impl->tree = std::move(prepared.opened.resolved.tree);
  impl->tokenizer = std::move(prepared.opened.tokenizer);
  impl->plan = std::move(prepared.plan);
  impl->shape = prepared.shape;
  return Model(std::move(impl));
}

}  // namespace shoehorn
