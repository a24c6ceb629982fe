#include "api/prepare.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "shoehorn/error.h"

#include "api/alternatives.h"
#include "api/custom_map.h"
#include "api/generation_defaults.h"
#include "api/machine_limits.h"
#include "api/product_times.h"
#include "base/checked.h"
#include "base/machine.h"
#include "base/str_cat.h"
#include "checkpoint/model_path.h"
#include "checkpoint/quantization_config.h"
#include "kernels/attention.h"
#include "model/loaded_model.h"
#include "model/pass_flight.h"
#include "model/synthetic_checkpoint.h"
#include "plan/planner_accelerate.h"
#include "plan/planner_shoehorn.h"
#include "plan/planner_transformers.h"
#include "weights/card_stream.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kDefaultMaxContext = 4096;
constexpr std::size_t kLinkSlots = 2;  // one is computed with while the next comes

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

/// For people: "nf4", "BF16".
std::string form_name(const WeightForm& form) {
  return std::string(form.is_quantized() ? to_string(form.quant_type) : to_string(form.dtype));
}

/// What differs where the weight lives on one of the devices.
void add_tiers(const ResolvedWeight& weight, const TierForms& tiers, const Machine& machine,
               WeightCost& cost) {
  if (tiers.empty() || !weight.tiered_dtype) return;
  const WeightForm on_disk = tiers.form_of(weight, DeviceKey::disk());
  cost.streamed_bytes = streamed_bytes(weight, on_disk);
  cost.staging_bytes = resident_bytes(weight, on_disk);
  const auto add = [&](DeviceKey key, const WeightForm& form) {
    if (form == weight.form) return;
    cost.tiers[key] = {.resident_bytes = resident_bytes(weight, form), .form = form_name(form)};
  };
  add(DeviceKey::disk(), on_disk);
  for (const auto& [key, device] : machine.devices) add(key, tiers.form_of(weight, key));
}

std::vector<WeightCost> weight_costs(const ResolvedModel& model, const TierForms& tiers,
                                     const Machine& machine) {
  std::vector<WeightCost> costs;
  std::map<StorageId, std::size_t> seen;
  for (const ResolvedWeight& weight : model.weights) {
    const auto elements = static_cast<double>(weight.shape.elements());
    const double flops =
        weight.shape.rank() >= 2 && !is_looked_up(weight) ? 2 * elements * weight.used : 0;
    if (const auto owner = seen.find(storage_of(weight)); owner != seen.end()) {
      // The head shares the embedding's bytes: all of them are read in every pass.
      costs[owner->second].flops_per_token += flops;
      WeightCost& shared = costs[owner->second];
      shared.rows_only = shared.rows_only && is_looked_up(weight);
      if (!shared.rows_only) shared.streamed_bytes = streamed_bytes(weight);
      continue;
    }
    seen.emplace(storage_of(weight), costs.size());
    WeightCost& cost = costs.emplace_back();
    cost = {.path = weight.path,
            .resident_bytes = resident_bytes(weight),
            .streamed_bytes = streamed_bytes(weight),
            .staging_bytes = resident_bytes(weight),
            .flops_per_token = flops,
            .used_share = weight.used,
            .rows_only = is_looked_up(weight),
            .form = form_name(weight.form)};
    // A token reads its row.
    if (cost.rows_only && weight.source != nullptr && weight.shape[0] > 0) {
      cost.streamed_bytes = weight.source->bytes / static_cast<std::size_t>(weight.shape[0]);
    }
    add_tiers(weight, tiers, machine, cost);
  }
  return costs;
}

PlanInput plan_input(const OpenedModel& opened, const RunShape& shape, const Machine& machine,
                     const TierForms& tiers, std::int64_t predicted_position) {
  const ResolvedModel& model = opened.resolved;
  PlanInput input;
  input.tree = &model.tree;
  input.weights = weight_costs(model, tiers, machine);
  input.batch = static_cast<std::size_t>(shape.max_batch);
  // A cache that is half full, as it is on average.
  const std::int64_t position = predicted_position > 0 ? predicted_position : shape.max_context / 2;
  input.predicted_position = static_cast<std::size_t>(position);
  const auto& layers = opened.architecture->shape().layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    input.layer_paths.push_back(model.groups[i + 1].name);
    const auto bytes = [&](std::int64_t positions) {
      return kv_bytes(layers[i], shape.kv_dtype, positions) *
             static_cast<std::size_t>(shape.max_batch);
    };
    input.kv_bytes_per_layer.push_back(bytes(shape.max_context));
    const std::int64_t window = layers[i].sliding_window;
    input.kv_read_bytes_per_layer.push_back(
        bytes(window > 0 ? std::min(position, window) : position));
  }
  input.devices = machine.devices;
  input.disk_bytes_per_s = machine.disk_bytes_per_s;
  input.disk_latency_s = machine.disk_latency_s;
  input.staging_slots = 4;  // at most: the ring evens out groups of different sizes
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
  if (opened.resolved.quant_type != QuantType::kNone &&
      opened.resolved.quant_type != QuantType::kF8Tiles) {
    // transformers' quantizer counts packed values alone and leaves a tenth of every budget.
    request.quantizer_share = 0.9;
    for (const ResolvedWeight& weight : opened.resolved.weights) {
      if (!weight.form.is_quantized()) continue;
      const bool int8 = weight.form.quant_type == QuantType::kInt8;
      request.sizes.element_size[weight.path] = PyNumber{int8 ? 1.0 : 0.5, !int8};
    }
  }
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
    const DeviceMap map = custom_device_map(options.device_map, opened.resolved.tree,
                                            {.accelerators = machine.counts()});
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

namespace {

BnbParity parity_from_name(const std::string& name) {
  if (name == "none") return BnbParity::kNone;
  if (name == "cpu") return BnbParity::kCpu;
  if (name == "cuda") return BnbParity::kCuda;
  throw ArgumentError(str_cat("bnb_parity \"", name, "\" is not one of none, cpu, cuda"));
}

/// What the user asks to quantize, checked; null where nothing, or where it is done already.
const BitsAndBytesConfig* asked_quantization(const LoadOptions& options) {
  if (!options.quantization_config) return nullptr;
  const BitsAndBytesConfig& config = *options.quantization_config;
  if (const auto problem = find_quantization_problem(config)) throw ArgumentError(*problem);
  return config.load_in_4bit || config.load_in_8bit ? &config : nullptr;
}

/// True if a setting says how to quantize or to compute, other than by default.
bool says_how(const BitsAndBytesConfig& config) {
  const BitsAndBytesConfig usual;
  return config.bnb_4bit_quant_type != usual.bnb_4bit_quant_type ||
         config.bnb_4bit_use_double_quant || config.bnb_4bit_compute_dtype ||
         config.llm_int8_threshold || !config.llm_int8_skip_modules.empty() ||
         config.llm_int8_has_fp16_weight;
}

void add_quantization_notes(OpenedModel& opened, const LoadOptions& options,
                            const std::optional<BitsAndBytesConfig>& stored) {
  const BitsAndBytesConfig* user =
      options.quantization_config ? &*options.quantization_config : nullptr;
  const ResolvedModel& resolved = opened.resolved;
  if (user != nullptr && user->llm_int8_enable_fp32_cpu_offload) {
    opened.notes.push_back(
        "llm_int8_enable_fp32_cpu_offload has no effect: quantized weights stay "
        "quantized on every device");
  }
  if (resolved.quantized_checkpoint && asked_quantization(options) != nullptr) {
    opened.notes.push_back(str_cat("the checkpoint is quantized already (", resolved.quantization(),
                                   "): it is used as it is; --dtype and the compute dtype still "
                                   "count"));
  }
  if (user != nullptr && resolved.quant_type == QuantType::kNone &&
      asked_quantization(options) == nullptr && options.tier_dtype.empty() && says_how(*user)) {
    opened.notes.push_back(
        "nothing is quantized, so the options that say how have no effect: --load-in-8bit or "
        "--load-in-4bit quantizes");
  }
  if (stored && !resolved.quantized_checkpoint) {
    opened.notes.push_back("config.json has a quantization_config, but no weight is quantized");
  }
  const bool four_bit = WeightForm{.quant_type = resolved.quant_type}.is_four_bit();
  const bool user_says = user != nullptr && user->bnb_4bit_compute_dtype.value_or("auto") != "auto";
  const bool file_says =
      stored && resolved.quantized_checkpoint && (user == nullptr || !user->bnb_4bit_compute_dtype);
  if (four_bit && !user_says && !file_says) {
    opened.compute_note =
        str_cat("compute dtype auto: ", to_string(opened.compute.dtype), " for ",
                to_string(resolved.quant_type), " (--bnb-4bit-compute-dtype chooses)");
  }
}

/// Holds the checkpoint against its architecture, quantized or to be quantized as it may be.
void resolve(OpenedModel& opened, const Config& config, const LoadOptions& options) {
  const std::optional<BitsAndBytesConfig> stored = parse_quantization_config(config, &opened.notes);
  opened.parity = parity_from_name(options.bnb_parity);
  BitsAndBytesConfig tiers;  // whatever width: the same modules are left as they are
  if (options.quantization_config) tiers = *options.quantization_config;
  tiers.load_in_8bit = true;
  tiers.load_in_4bit = false;
  tiers.llm_int8_has_fp16_weight = false;
  opened.resolved = resolve_model(*opened.architecture, *opened.checkpoint,
                                  {.dtype = asked_dtype(options.dtype, "dtype"),
                                   .strict = options.strict,
                                   .quantization = asked_quantization(options),
                                   .quantize_experts = options.quantize_experts,
                                   .tiers = options.tier_dtype.empty() ? nullptr : &tiers});
  opened.compute_of = [user = options.quantization_config,
                       file = opened.resolved.quantized_checkpoint ? stored : std::nullopt,
                       parity = opened.parity,
                       dtype = asked_dtype(options.dtype, "dtype")](QuantType type) {
    WeightCompute compute = weight_compute(user ? &*user : nullptr, file ? &*file : nullptr, type);
    if (type == QuantType::kNone || type == QuantType::kF8Tiles) {
      compute.dtype = dtype == DType::kF32   ? ComputeDtype::kF32
                      : dtype == DType::kF16 ? ComputeDtype::kF16
                                             : ComputeDtype::kBF16;
    }
    compute.bnb_cpu_constant = parity == BnbParity::kCpu;
    return compute;
  };
  opened.compute = opened.compute_of(opened.resolved.quant_type);
  add_quantization_notes(opened, options, stored);
}

Checkpoint open_or_make(const std::string& model, const LoadOptions& options) {
  if (!options.synthetic) {
    return open_checkpoint(resolve_model_path(model), {.config = options.config});
  }
  if (!options.config.empty()) {
    throw ArgumentError("a synthetic model is its config: give config.json in place of its name");
  }
  return synthetic_checkpoint(model, options.synthetic_seed);
}

std::vector<ScaledAdapter> open_adapters(const LoadOptions& options) {
  std::vector<ScaledAdapter> adapters;
  for (const AdapterOptions& adapter : options.adapters) {
    adapters.push_back({std::make_shared<const PeftAdapter>(adapter.path), adapter.scale});
  }
  return adapters;
}

/// Puts whole tensors that adapters bring in the place of the checkpoint's.
Checkpoint replace_tensors(Checkpoint checkpoint, const std::vector<ScaledAdapter>& adapters,
                           std::string_view base_model_prefix) {
  std::vector<const PeftAdapter*> all;
  for (const ScaledAdapter& adapter : adapters) all.push_back(adapter.adapter.get());
  return with_replacements(std::move(checkpoint), all, base_model_prefix);
}

}  // namespace

OpenedModel open_model(const std::string& model, const LoadOptions& options) {
  OpenedModel opened;
  Checkpoint checkpoint = open_or_make(model, options);
  const std::vector<ScaledAdapter> adapters = open_adapters(options);
  const auto path = checkpoint.path();
  const auto config_path = !options.config.empty() ? options.config
                           : options.synthetic     ? path
                                                   : path / "config.json";
  opened.notes = checkpoint.notes();
  opened.architecture = make_architecture(Config::parse(checkpoint.config_json(), config_path));
  opened.checkpoint = std::make_unique<const Checkpoint>(
      replace_tensors(std::move(checkpoint), adapters, opened.architecture->base_model_prefix()));
  resolve(opened, Config::parse(opened.checkpoint->config_json(), config_path), options);
  if (!adapters.empty()) {
    opened.adapters = std::make_unique<AdapterSet>(
        adapters, opened.resolved, opened.architecture->base_model_prefix(), detect_isa());
  }
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

void refuse_tiers(const LoadOptions& options, const std::string& command) {
  if (options.tier_dtype.empty()) return;
  throw ArgumentError(command +
                      " places nothing, so --tier-dtype has no meaning for it: plan and "
                      "run take it");
}

RunShape run_shape(const OpenedModel& opened, const LoadOptions& options) {
  const DecoderShape& decoder = opened.architecture->shape();
  RunShape shape;
  shape.kv_dtype = options.kv_dtype == "int8" ? DType::kI8
                                              : asked_dtype(options.kv_dtype, "kv_dtype")
                                                    .value_or(auto_kv_dtype(opened.resolved.dtype));
  shape.max_context = options.max_context > 0
                          ? options.max_context
                          : std::min(decoder.max_position_embeddings, kDefaultMaxContext);
  shape.max_batch = planned_sequences(*opened.checkpoint, options);
  shape.max_rows = pass_rows(shape.max_context, shape.max_batch);
  shape.flight_rows = shape.max_rows;
  shape.threads = options.threads > 0 ? options.threads : usable_processors();
  shape.isa = detect_isa();
  shape.workspace_bytes = pass_workspace_bytes(*opened.architecture, shape.max_rows, shape.max_rows,
                                               shape.max_context, shape.threads);
  if (opened.adapters) shape.workspace_bytes += opened.adapters->workspace_bytes(shape.max_rows);
  return shape;
}

void set_card_shape(const OpenedModel& opened, const std::vector<std::size_t>& limits,
                    RunShape& shape) {
  constexpr std::int64_t kMostRows = 2048;
  constexpr std::int64_t kLeastRows = 64;
  constexpr std::size_t kLimitParts = 16;  // of which the workspace may take one
  const std::size_t smallest = *std::ranges::min_element(limits);
  std::int64_t rows = std::min(kMostRows, shape.max_context * shape.max_batch);
  for (;; rows /= 2) {
    shape.card_rows = std::max(rows, shape.max_batch);
    shape.card_workspace_bytes = card_workspace_bytes(
        *opened.architecture, shape.card_rows, shape.max_batch, shape.max_context, shape.kv_dtype);
    if (opened.adapters) {
      shape.card_workspace_bytes += opened.adapters->workspace_bytes(shape.card_rows);
    }
    if (rows <= kLeastRows || shape.card_workspace_bytes <= smallest / kLimitParts) break;
  }
  // The CPU holds the rows where it looks up the embedding, and attends where caches are its own.
  const DecoderShape& decoder = opened.architecture->shape();
  std::size_t attention = 0;
  for (const LayerKvShape& layer : decoder.layers) {
    const std::int64_t width = std::max(layer.head_dim, layer.value_width());
    const std::int64_t heads = decoder.num_attention_heads;
    // Queries, keys and values, the result where it is not as wide as the queries, and sinks.
    std::int64_t row =
        heads * layer.head_dim + layer.num_key_value_heads * (layer.head_dim + layer.value_width());
    if (layer.value_width() != layer.head_dim) row += heads * layer.value_width();
    const std::int64_t floats = shape.card_rows * row + heads;
    attention = std::max(
        attention, static_cast<std::size_t>(floats) * sizeof(float) +
                       attention_workspace_bytes(shape.card_rows, shape.max_context, heads,
                                                 layer.num_key_value_heads, width, shape.threads));
  }
  const auto rows_bytes =
      static_cast<std::size_t>(shape.card_rows * decoder.hidden_size) * sizeof(float);
  shape.workspace_bytes = std::max(shape.workspace_bytes, rows_bytes + attention + 4096);
}

AcceleratorCounts Machine::counts() const {
  AcceleratorCounts counts;
  for (const Accelerator& accelerator : accelerators) {
    (accelerator.device.kind == DeviceKind::kCuda ? counts.cuda : counts.virtual_devices) += 1;
  }
  return counts;
}

const Accelerator* Machine::accelerator(DeviceKey key) const {
  if (!key.is_accelerator() || key.index < 0) return nullptr;
  const auto i = static_cast<std::size_t>(key.index);
  return i < accelerators.size() ? &accelerators[i] : nullptr;
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
  return device_of(plan.device_map.device_of(path).value());
}

Device PreparedModel::device_of(DeviceKey key) const {
  if (key.is_disk()) return Device{DeviceKind::kDisk};
  return key.is_accelerator() ? machine.accelerators.at(static_cast<std::size_t>(key.index)).device
                              : Device{};
}

HfDeviceMap PreparedModel::hf_device_map() const {
  HfDeviceMap map;
  for (const auto& [path, key] : plan.device_map) map.entries.emplace_back(path, to_string(key));
  return map;
}

namespace {

/// Where some layers are not on accelerators and a CUDA device has room for it, sets aside slots
/// through which their weights come to it. True if the plan has to be made again.
bool plan_link_staging(PreparedModel& prepared) {
  const ResolvedModel& model = prepared.opened.resolved;
  std::map<std::size_t, std::size_t> bytes;  // of groups that are not on accelerators
  for (const ResolvedWeight& weight : model.weights) {
    const DeviceKey key = prepared.plan.device_map.device_of(weight.path).value();
    if (is_looked_up(weight) || key.is_accelerator()) continue;
    bytes[weight.group] +=
        (resident_bytes(weight, prepared.tiers.form_of(weight, key)) + kLinkAlignment - 1) /
        kLinkAlignment * kLinkAlignment;
  }
  std::size_t slot = 0;
  for (const auto& [group, size] : bytes) slot = std::max(slot, size);
  bool changed = false;
  for (auto& [key, device] : prepared.plan_input.devices) {
    const Accelerator* const accelerator = prepared.machine.accelerator(key);
    if (slot == 0 || accelerator == nullptr || accelerator->device.kind != DeviceKind::kCuda) {
      continue;
    }
    // A slot is worth its room where most of the card still holds weights.
    if (kLinkSlots * slot > device.limit_bytes / 2) continue;
    device.link_staging_bytes = kLinkSlots * slot;
    changed = true;
  }
  return changed;
}

TierForms tier_forms(const LoadOptions& options, const Machine& machine) {
  std::set<DeviceKey> assumed;
  for (const auto& [key, device] : machine.devices) {
    if (key.is_accelerator() && key.index >= machine.counts().total()) assumed.insert(key);
  }
  return {options.tier_dtype, machine.counts(),
          options.quantization_config ? &*options.quantization_config : nullptr, assumed};
}

/// Every weight has its place: gives it the form that it has there.
void settle_tiers(const LoadOptions& options, PreparedModel& prepared) {
  if (prepared.tiers.empty()) return;
  OpenedModel& opened = prepared.opened;
  if (opened.resolved.quantized_checkpoint) {
    opened.notes.push_back(
        "--tier-dtype: what is quantized in the checkpoint stays as it is wherever it lives");
  }
  set_forms(opened.resolved, [&](const ResolvedWeight& weight) {
    return prepared.tiers.form_of(weight, prepared.plan.device_map.device_of(weight.path).value());
  });
  const BitsAndBytesConfig* user =
      options.quantization_config ? &*options.quantization_config : nullptr;
  if (user != nullptr && user->bnb_4bit_compute_dtype.value_or("auto") != "auto") return;
  for (const ResolvedWeight& weight : opened.resolved.weights) {
    if (!opened.compute_note.empty()) break;
    if (weight.quantized != nullptr || !weight.form.is_four_bit()) continue;
    opened.compute_note =
        str_cat("compute dtype auto: ", to_string(opened.compute_of(weight.form.quant_type).dtype),
                " for ", to_string(weight.form.quant_type), " (--bnb-4bit-compute-dtype chooses)");
  }
}

}  // namespace

namespace {

/// The plan input with the caches of `spilled` layers on disk.
PlanInput spilled_input(const PreparedModel& prepared, const std::vector<bool>& spilled) {
  const RunShape& shape = prepared.shape;
  const auto& layers = prepared.opened.architecture->shape().layers;
  const auto read = static_cast<std::int64_t>(prepared.plan_input.predicted_position);
  PlanInput input = prepared.plan_input;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (!spilled[i]) continue;
    input.kv_bytes_per_layer[i] = 0;
    input.kv_disk_bytes_per_token += kv_bytes(layers[i], shape.kv_dtype, read) * input.batch;
  }
  input.devices.at(DeviceKey::cpu()).workspace_bytes +=
      kv_window_bytes(*prepared.opened.architecture, shape.kv_dtype, shape.max_context);
  return input;
}

/// Plans; where the KV cache is what does not fit on a machine of a CPU alone, with as few layers'
/// caches on disk as make it fit.
void plan_within_memory(PreparedModel& prepared, const LoadOptions& options) {
  const auto plan_with = [&](PlanInput& input) {
    prepared.plan = make_plan(prepared.opened, prepared.machine, options, input);
  };
  const auto& devices = prepared.plan_input.devices;
  if (devices.size() != 1 || !devices.contains(DeviceKey::cpu())) {
    return plan_with(prepared.plan_input);
  }
  try {
    return plan_with(prepared.plan_input);
  } catch (const PlanError&) {
    // Fewer bytes are tried below; what does not fit even so says so.
  }
  const std::size_t layers = prepared.plan_input.kv_bytes_per_layer.size();
  PlanInput input = spilled_input(prepared, spread_spilled_layers(layers, layers));
  plan_with(input);
  std::size_t fits = layers;  // the smallest known to
  std::size_t fails = 0;
  while (fails + 1 < fits) {
    const std::size_t middle = (fails + fits) / 2;
    PlanInput tried = spilled_input(prepared, spread_spilled_layers(layers, middle));
    try {
      plan_with(tried);
      fits = middle;
      input = std::move(tried);
    } catch (const PlanError&) {
      fails = middle;
    }
  }
  plan_with(input);
  prepared.shape.spilled_layers = spread_spilled_layers(layers, fits);
  prepared.plan_input = std::move(input);
  std::string note =
      str_cat("the KV cache of ", prepared.shape.max_context, " positions does not fit: ", fits,
              " of ", layers,
              " layers' lie on disk and are read for every token; a smaller "
              "--max-context or --max-batch, or --kv-dtype int8, keeps more of it in memory");
  prepared.opened.notes.push_back(std::move(note));
}

/// Where layers stream and a call may be longer than a pass, sets aside room for the residual
/// streams of several passes, so that all of them go through a layer while it is there. Nothing
/// changes where the larger workspace does not fit.
void plan_flights(PreparedModel& prepared, const LoadOptions& options) {
  constexpr std::size_t kLimitParts = 64;  // of which the residual streams may take one
  RunShape& shape = prepared.shape;
  const auto cpu = prepared.plan_input.devices.find(DeviceKey::cpu());
  if (prepared.plan.stream_groups.empty() || cpu == prepared.plan_input.devices.end()) return;
  const auto hidden = static_cast<std::size_t>(prepared.opened.architecture->shape().hidden_size);
  const std::size_t fits = cpu->second.limit_bytes / kLimitParts / (hidden * sizeof(float));
  const auto longest = checked_mul(static_cast<std::size_t>(shape.max_context),
                                   static_cast<std::size_t>(shape.max_batch));
  const auto rows = static_cast<std::int64_t>(std::min(longest.value_or(fits), fits));
  if (rows <= shape.max_rows) return;
  const std::size_t more = PassFlight::residual_bytes(
      rows, shape.max_rows, prepared.opened.architecture->shape().hidden_size);
  PlanInput input = prepared.plan_input;
  for (auto& [key, device] : input.devices) {
    if (key.is_cpu() || device.host_memory) device.workspace_bytes += more;
  }
  try {
    prepared.plan = make_plan(prepared.opened, prepared.machine, options, input);
  } catch (const PlanError&) {
    return;
  }
  prepared.plan_input = std::move(input);
  shape.flight_rows = rows;
  shape.workspace_bytes += more;
}

}  // namespace

std::unique_ptr<PreparedModel> place_model(const std::string& model, const LoadOptions& options,
                                           const std::string& assume, bool measure,
                                           std::size_t others_bytes) {
  auto prepared = std::make_unique<PreparedModel>();
  prepared->opened = open_model(model, options);
  prepared->shape = run_shape(prepared->opened, options);
  prepared->machine = machine_limits(options, prepared->opened, prepared->shape, assume);
  const auto cpu = prepared->machine.devices.find(DeviceKey::cpu());
  if (cpu != prepared->machine.devices.end()) cpu->second.process_bytes += others_bytes;
  prepared->tiers = tier_forms(options, prepared->machine);
  if (measure) {
    measure_rates(*prepared->opened.checkpoint, prepared->shape, prepared->machine);
  } else {
    recall_drive_rate(*prepared->opened.checkpoint, prepared->machine);
  }
  prepared->plan_input = plan_input(prepared->opened, prepared->shape, prepared->machine,
                                    prepared->tiers, options.predicted_position);
  if (measure) {
    measure_products(prepared->opened, prepared->shape, prepared->tiers, prepared->plan_input);
  }
  plan_within_memory(*prepared, options);
  if (plan_link_staging(*prepared)) {
    // What comes over the link, and when, depends on the rates.
    if (!measure) {
      measure_rates(*prepared->opened.checkpoint, prepared->shape, prepared->machine);
      for (auto& [key, device] : prepared->plan_input.devices) {
        device.rates = prepared->machine.devices.at(key).rates;
      }
    }
    prepared->plan = make_plan(prepared->opened, prepared->machine, options, prepared->plan_input);
  }
  plan_flights(*prepared, options);
  settle_tiers(options, *prepared);
  return prepared;
}

std::unique_ptr<PreparedModel> prepare_model(const std::string& model, const LoadOptions& options,
                                             const std::string& assume, bool measure,
                                             std::size_t others_bytes) {
  std::unique_ptr<PreparedModel> prepared;
  try {
    prepared = place_model(model, options, assume, measure, others_bytes);
  } catch (const PlanError& error) {
    const std::string other = what_would_fit(model, options, assume, others_bytes);
    throw PlanError(error.what() + other, error.needed_bytes(), error.available_bytes());
  }
  if (options.on_note) {
    for (const std::string& note : prepared->opened.notes) options.on_note(note);
    const std::string& compute_note = prepared->opened.compute_note;
    if (!compute_note.empty()) options.on_note(compute_note);
  }
  return prepared;
}

}  // namespace shoehorn
