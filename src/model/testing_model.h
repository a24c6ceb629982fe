// Loads a model of tests/data with every weight where a test wants it.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/loaded_model.h"
#include "model/tier_forms.h"
#include "model/weight_plan.h"
#include "weights/weight_cache.h"

namespace shoehorn::testing {

inline std::filesystem::path model_folder(const std::string& name) {
  return std::filesystem::path(SHOEHORN_TEST_DATA) / "models" / name;
}

struct TestModelOptions {
  std::string config = "config.json";
  std::optional<DType> dtype = {};
  std::function<Device(std::string_view)> device_of = [](std::string_view) { return Device{}; };
  std::optional<BitsAndBytesConfig> quantization = {};
  /// The form of every weight; none: as resolved.
  std::function<WeightForm(const ResolvedWeight&)> form_of = {};
  WeightCompute compute = {};
  BnbParity parity = BnbParity::kNone;
  std::filesystem::path offload_folder = {};
  DType kv_dtype = DType::kF32;
  std::vector<bool> spilled_layers = {};
  std::int64_t max_rows = 512;
  std::int64_t flight_rows = 0;  // 0: max_rows
  int threads = 2;
  Isa isa = detect_isa();
  std::vector<Accelerator> accelerators = parse_virtual_devices("2x256MiB");
  /// How what is on disk is read, and into how large a ring.
  WeightStore::Options weights = {};
  /// The CUDA device that everything which lives elsewhere comes to, in every pass.
  std::optional<Device> link = {};
};

/// A device for every parameter, drawn from `devices`: even maps place whole layers, odd ones every
/// tensor by itself; ties stay together.
inline std::function<Device(std::string_view)> random_map(const Architecture& architecture, int map,
                                                          std::vector<Device> devices) {
  const std::string first = architecture.weight_groups()[1].name;
  return [map, devices = std::move(devices), layers = first.substr(0, first.size() - 1),
          ties = architecture.module_tree(DType::kF32).ties](std::string_view path) {
    std::string unit(path);
    if (map % 2 == 0 && unit.starts_with(layers)) {
      unit = unit.substr(0, unit.find('.', layers.size()));
    }
    for (const auto& [owner, alias] : ties) {
      if (unit == alias) unit = owner;
    }
    return devices[std::hash<std::string>()(unit + std::to_string(map)) % devices.size()];
  };
}

/// The architecture of a model of tests/data.
inline std::unique_ptr<const Architecture> architecture_of(
    const std::string& name, const std::string& config = "config.json") {
  const std::filesystem::path path = model_folder(name) / config;
  return make_architecture(Config::parse(read_text_file(path), path));
}

inline bool has_card(const std::vector<Accelerator>& accelerators) {
  return std::ranges::any_of(accelerators, [](const Accelerator& a) { return a.card >= 0; });
}

/// Every group is computed on a CUDA device: its own, else `card`, where the rest of it comes.
inline Route link_route(const ModelParts& parts, Device card) {
  Route route{.group_devices = parts.routes.front().group_devices};
  for (std::size_t g = 1; g < parts.groups.size(); ++g) {
    if (route.group_devices[g].kind != DeviceKind::kCuda) route.group_devices[g] = card;
    if (route.group_devices[g] == card) route.brought.push_back(g);
  }
  return route;
}

inline std::unique_ptr<LoadedModel> load_test_model(const std::filesystem::path& folder,
                                                    TestModelOptions options = {}) {
  ModelParts parts;
  parts.checkpoint = std::make_unique<const Checkpoint>(
      open_checkpoint(folder, {.config = folder / options.config}));
  parts.architecture =
      make_architecture(Config::parse(parts.checkpoint->config_json(), folder / options.config));
  const BitsAndBytesConfig tiers{.load_in_8bit = true};
  ResolvedModel model =
      resolve_model(*parts.architecture, *parts.checkpoint,
                    {.dtype = options.dtype,
                     .strict = true,
                     .quantization = options.quantization ? &*options.quantization : nullptr,
                     .tiers = options.form_of ? &tiers : nullptr});
  if (options.form_of) set_forms(model, options.form_of);
  parts.groups = place_weights(
      model, options.device_of, [&](QuantType) { return options.compute; }, options.parity);
  parts.routes = {Route{.group_devices = compute_devices(parts.groups)}};
  const std::vector<Device>& home = parts.routes.front().group_devices;
  const auto layers = static_cast<std::ptrdiff_t>(parts.architecture->shape().layers.size());
  parts.kv_devices.assign(home.begin() + 1, home.begin() + 1 + layers);
  parts.memory = std::make_unique<DeviceMemory>(options.accelerators);
  parts.pool = std::make_unique<ThreadPool>(options.threads);
  parts.isa = options.isa;
  const auto cache = std::filesystem::temp_directory_path() / "shoehorn-test-cache";
  fill_weight_cache(*parts.checkpoint, parts.groups,
                    {.folder = options.offload_folder.empty() ? cache : options.offload_folder},
                    *parts.pool, parts.isa);
  parts.weights = options.weights;
  parts.kv_dtype = options.kv_dtype;
  parts.spilled_layers = options.spilled_layers;
  parts.spill_folder = std::filesystem::temp_directory_path();
  parts.spill_positions = 4096;
  parts.max_rows = options.max_rows;
  parts.flight_rows = std::max(options.flight_rows, options.max_rows);
  parts.workspace_bytes = pass_workspace_bytes(*parts.architecture, options.max_rows,
                                               parts.flight_rows, 4096, options.threads);
  if (has_card(options.accelerators)) {
    parts.card_rows = options.max_rows;
    parts.card_workspace_bytes =
        card_workspace_bytes(*parts.architecture, options.max_rows, 8, 4096, options.kv_dtype);
  }
  if (options.link) {
    parts.routes = {link_route(parts, *options.link)};
    parts.weights.link_devices = {*options.link};
  }
  return std::make_unique<LoadedModel>(std::move(parts));
}

/// Logits [ids.size(), vocab] of ids fed `step` at a time.
inline std::vector<float> all_logits(const LoadedModel& model, const std::vector<std::int32_t>& ids,
                                     std::size_t step = 1000) {
  const auto vocab = static_cast<std::size_t>(model.architecture().shape().vocab_size);
  const auto kv = model.new_kv_cache(static_cast<std::int64_t>(ids.size()));
  std::vector<std::int32_t> positions(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) positions[i] = static_cast<std::int32_t>(i);
  std::vector<float> logits(ids.size() * vocab);
  for (std::size_t at = 0; at < ids.size(); at += step) {
    const std::size_t count = std::min(step, ids.size() - at);
    const BatchSequence sequence{.ids = std::span(ids).subspan(at, count),
                                 .positions = std::span(positions).subspan(at, count),
                                 .kv = kv.get(),
                                 .call_length = static_cast<std::int64_t>(at + count),
                                 .logits = BatchSequence::Logits::kAll};
    model.run({&sequence, 1}, std::span(logits).subspan(at * vocab, count * vocab));
  }
  return logits;
}

}  // namespace shoehorn::testing
