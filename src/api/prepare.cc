#include "api/prepare.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "shoehorn/error.h"

#include "api/custom_map.h"
#include "api/machine_limits.h"
#include "base/machine.h"
#include "base/str_cat.h"
#include "checkpoint/model_path.h"
#include "checkpoint/quantization_config.h"
#include "kernels/attention.h"
#include "model/loaded_model.h"
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

std::vector<WeightCost> weight_costs(const ResolvedModel& model) {
  std::vector<WeightCost> costs;
  std::map<StorageId, std::size_t> seen;
  for (const ResolvedWeight& weight : model.weights) {
    const auto elements = static_cast<double>(weight.shape.elements());
    const double flops = weight.shape.rank() >= 2 && !is_looked_up(weight) ? 2 * elements : 0;
    if (const auto owner = seen.find(storage_of(weight)); owner != seen.end()) {
      // The head shares the embedding's bytes: all of them are read in every pass.
      costs[owner->second].flops_per_token += flops;
      costs[owner->second].rows_only = costs[owner->second].rows_only && is_looked_up(weight);
      continue;
    }
    seen.emplace(storage_of(weight), costs.size());
    costs.push_back({.path = weight.path,
                     .resident_bytes = resident_bytes(weight),
                     .streamed_bytes = streamed_bytes(weight),
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
  if (opened.resolved.quant_type != QuantType::kNone) {
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
    opened.notes.push_back(str_cat("the checkpoint is quantized already (",
                                   to_string(resolved.quant_type),
                                   "): it is used as it is; --dtype and the compute dtype still "
                                   "count"));
  }
  if (user != nullptr && resolved.quant_type == QuantType::kNone &&
      asked_quantization(options) == nullptr && says_how(*user)) {
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
  opened.resolved = resolve_model(*opened.architecture, *opened.checkpoint,
                                  {.dtype = asked_dtype(options.dtype, "dtype"),
                                   .strict = options.strict,
                                   .quantization = asked_quantization(options)});
  opened.compute =
      weight_compute(options.quantization_config ? &*options.quantization_config : nullptr,
                     stored && opened.resolved.quantized_checkpoint ? &*stored : nullptr,
                     opened.resolved.quant_type);
  opened.compute.bnb_cpu_constant = opened.parity == BnbParity::kCpu;
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
    if (rows <= kLeastRows || shape.card_workspace_bytes <= smallest / kLimitParts) break;
  }
  // The CPU holds the rows where it looks up the embedding, and attends where caches are its own.
  const DecoderShape& decoder = opened.architecture->shape();
  std::size_t attention = 0;
  for (const LayerKvShape& layer : decoder.layers) {
    const std::int64_t width = std::max(layer.head_dim, layer.value_width());
    const std::int64_t floats =
        shape.card_rows * width * (decoder.num_attention_heads + 2 * layer.num_key_value_heads);
    attention =
        std::max(attention, static_cast<std::size_t>(floats) * sizeof(float) +
                                attention_workspace_bytes(
                                    shape.card_rows, shape.max_context, decoder.num_attention_heads,
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
        (resident_bytes(weight) + kLinkAlignment - 1) / kLinkAlignment * kLinkAlignment;
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

}  // namespace

std::unique_ptr<PreparedModel> prepare_model(const std::string& model, const LoadOptions& options,
                                             const std::string& assume, bool measure,
                                             std::size_t others_bytes) {
  auto prepared = std::make_unique<PreparedModel>();
  prepared->opened = open_model(model, options);
  prepared->shape = run_shape(prepared->opened, options);
  prepared->machine = machine_limits(options, prepared->opened, prepared->shape, assume);
  const auto cpu = prepared->machine.devices.find(DeviceKey::cpu());
  if (cpu != prepared->machine.devices.end()) cpu->second.process_bytes += others_bytes;
  if (measure) measure_rates(*prepared->opened.checkpoint, prepared->shape, prepared->machine);
  prepared->plan_input = plan_input(prepared->opened, prepared->shape, prepared->machine);
  prepared->plan = make_plan(prepared->opened, prepared->machine, options, prepared->plan_input);
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
  if (options.on_note) {
    for (const std::string& note : prepared->opened.notes) options.on_note(note);
    const std::string& compute_note = prepared->opened.compute_note;
    if (!compute_note.empty()) options.on_note(compute_note);
  }
  return prepared;
}

}  // namespace shoehorn
