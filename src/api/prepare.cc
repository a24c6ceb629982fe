#include "api/prepare.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "shoehorn/error.h"

#include "api/custom_map.h"
#include "api/machine_limits.h"
#include "base/machine.h"
#include "base/str_cat.h"
#include "checkpoint/model_path.h"
#include "model/loaded_model.h"
#include "plan/planner_accelerate.h"
#include "plan/planner_shoehorn.h"
#include "plan/planner_transformers.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kDefaultMaxContext = 4096;

std::optional<DType> asked_dtype(const std::string& name, const char* option) {
  if (name == "auto") return std::nullopt;
  const auto dtype = dtype_from_torch_name(name);
  if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF16) {
    throw ArgumentError(
        str_cat(option, " \"", name, "\" is not one of auto, float32, bfloat16, float16"));
  }
  return dtype;
}

/// 16 bits of the model's kind; a float32 model keeps 32.
DType auto_kv_dtype(DType model) {
  if (model == DType::kF32 || model == DType::kBF16) return model;
  return DType::kF16;
}

std::vector<WeightCost> weight_costs(const ResolvedModel& model) {
  std::vector<WeightCost> costs;
  std::unordered_map<const TensorInfo*, std::size_t> seen;
  for (const ResolvedWeight& weight : model.weights) {
    const auto elements = static_cast<double>(weight.source->shape.elements());
    const double flops =
        weight.source->shape.rank() >= 2 && !is_looked_up(weight) ? 2 * elements : 0;
    if (const auto owner = seen.find(weight.source); owner != seen.end()) {
      // The head shares the embedding's bytes: all of them are read in every pass.
      costs[owner->second].flops_per_token += flops;
      costs[owner->second].rows_only = costs[owner->second].rows_only && is_looked_up(weight);
      continue;
    }
    seen.emplace(weight.source, costs.size());
    costs.push_back({.path = weight.path,
                     .resident_bytes = resident_bytes(weight),
                     .streamed_bytes = weight.source->bytes,
                     .staging_bytes = resident_bytes(weight),
                     .flops_per_token = flops,
                     .rows_only = is_looked_up(weight)});
  }
  return costs;
}

PlanInput plan_input(const OpenedModel& opened, const RunShape& shape, const Machine& machine) {
  const ResolvedModel& model = opened.resolved;
  PlanInput input;
  input.tree = &model.tree;
  input.weights = weight_costs(model);
  const auto& layers = opened.architecture->shape().layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    input.layer_paths.push_back(model.groups[i + 1].name);
    const std::size_t bytes = kv_bytes(layers[i], shape.kv_dtype, shape.max_context);
    input.kv_bytes_per_layer.push_back(bytes * static_cast<std::size_t>(shape.max_batch));
  }
  input.devices = machine.devices;
  input.disk_bytes_per_s = machine.disk_bytes_per_s;
  input.staging_slots = 2;
  input.min_staging_slots = 2;
  // The reader brings a layer at a time.
  input.smallest_stream_unit = StreamUnit::kLayer;
  input.max_context = static_cast<std::size_t>(shape.max_context);
  return input;
}

ReferenceRequest reference_request(const OpenedModel& opened, const LoadOptions& options,
                                   const Machine& machine) {
  ReferenceRequest request;
  request.strategy = strategy_from_name(options.device_map);
  const auto& no_split = opened.resolved.tree.no_split_module_classes;
  request.no_split = {no_split.begin(), no_split.end()};
  for (const auto& [key, device] : machine.devices) {
    request.detected.emplace_back(to_string(key),
                                  PyNumber{static_cast<double>(device.limit_bytes), false});
  }
  if (!options.max_memory.empty()) request.max_memory = request.detected;
  return request;
}

bool is_strategy(const std::string& device_map) {
  constexpr std::array<std::string_view, 4> kNames = {"auto", "balanced", "balanced_low_0",
                                                      "sequential"};
  return std::ranges::find(kNames, device_map) != kNames.end();
}

Plan make_plan(const OpenedModel& opened, const Machine& machine, const LoadOptions& options,
               PlanInput& input) {
  if (!is_strategy(options.device_map)) {
    const AcceleratorCounts counts{
        .cuda = 0, .virtual_devices = static_cast<int>(machine.accelerators.size())};
    const DeviceMap map =
        custom_device_map(options.device_map, opened.resolved.tree, {.accelerators = counts});
    return evaluate_map(input, map);
  }
  input.strategy = strategy_from_name(options.device_map);
  if (options.planner == "shoehorn") return plan_shoehorn(input);
  const PlanTree tree(opened.resolved.tree);
  const ReferenceRequest request = reference_request(opened, options, machine);
  if (options.planner == "accelerate") {
    return evaluate_map(input, plan_accelerate(tree, request).device_map);
  }
  if (options.planner == "transformers") {
    return evaluate_map(input, plan_transformers(tree, request).device_map);
  }
  throw ArgumentError(str_cat("planner \"", options.planner,
                              "\" is not one of shoehorn, accelerate, transformers"));
}

}  // namespace

OpenedModel open_model(const std::string& model, const LoadOptions& options) {
  OpenedModel opened;
  const auto path = resolve_model_path(model);
  opened.checkpoint =
      std::make_unique<const Checkpoint>(open_checkpoint(path, {.config = options.config}));
  opened.notes = opened.checkpoint->notes();
  const auto config_path = options.config.empty() ? path / "config.json" : options.config;
  opened.architecture =
      make_architecture(Config::parse(opened.checkpoint->config_json(), config_path));
  opened.resolved = resolve_model(*opened.architecture, *opened.checkpoint,
                                  asked_dtype(options.dtype, "dtype"), options.strict);
  opened.notes.insert(opened.notes.end(), opened.resolved.notes.begin(),
                      opened.resolved.notes.end());
  ModuleTree& tree = opened.resolved.tree;
  tree.no_split_module_classes.insert(tree.no_split_module_classes.end(),
                                      options.no_split_module_classes.begin(),
                                      options.no_split_module_classes.end());
  if (!opened.checkpoint->tokenizer_json().empty()) {
    opened.tokenizer = std::make_unique<const Tokenizer>(
        Tokenizer::from_json(opened.checkpoint->tokenizer_json(), path / "tokenizer.json"));
    for (const std::string& warning : opened.tokenizer->warnings()) opened.notes.push_back(warning);
  }
  return opened;
}

RunShape run_shape(const OpenedModel& opened, const LoadOptions& options) {
  const DecoderShape& decoder = opened.architecture->shape();
  RunShape shape;
  shape.kv_dtype =
      asked_dtype(options.kv_dtype, "kv_dtype").value_or(auto_kv_dtype(opened.resolved.dtype));
  shape.max_context = options.max_context > 0
                          ? options.max_context
                          : std::min(decoder.max_position_embeddings, kDefaultMaxContext);
  if (options.max_batch < 1) throw ArgumentError("max_batch must be at least 1");
  shape.max_batch = options.max_batch;
  shape.max_rows = pass_rows(shape.max_context, shape.max_batch);
  shape.threads = options.threads > 0 ? options.threads : usable_processors();
  shape.isa = detect_isa();
  shape.workspace_bytes =
      pass_workspace_bytes(*opened.architecture, shape.max_rows, shape.max_context, shape.threads);
  return shape;
}

std::size_t kv_cache_bytes(const OpenedModel& opened, const RunShape& shape,
                           std::int64_t positions) {
  std::size_t bytes = 0;
  for (const LayerKvShape& layer : opened.architecture->shape().layers) {
    bytes += kv_bytes(layer, shape.kv_dtype, positions);
  }
  return bytes;
}

Device PreparedModel::device_of(std::string_view path) const {
  const DeviceKey key = plan.device_map.device_of(path).value();
  if (key.is_accelerator()) {
    return machine.accelerators.at(static_cast<std::size_t>(key.index)).device;
  }
  return key.is_disk() ? Device{DeviceKind::kDisk} : Device{};
}

HfDeviceMap PreparedModel::hf_device_map() const {
  HfDeviceMap map;
  for (const auto& [path, key] : plan.device_map) map.entries.emplace_back(path, to_string(key));
  return map;
}

std::unique_ptr<PreparedModel> prepare_model(const std::string& model, const LoadOptions& options,
                                             const std::string& assume, bool measure) {
  auto prepared = std::make_unique<PreparedModel>();
  prepared->opened = open_model(model, options);
  prepared->shape = run_shape(prepared->opened, options);
  prepared->machine = machine_limits(options, prepared->shape, assume);
  if (measure) measure_rates(*prepared->opened.checkpoint, prepared->shape, prepared->machine);
  prepared->plan_input = plan_input(prepared->opened, prepared->shape, prepared->machine);
  prepared->plan = make_plan(prepared->opened, prepared->machine, options, prepared->plan_input);
  if (options.on_note) {
    for (const std::string& note : prepared->opened.notes) options.on_note(note);
  }
  return prepared;
}

}  // namespace shoehorn
