#include "shoehorn/inspect.h"

#include <array>
#include <map>
#include <set>
#include <sstream>
#include <unordered_map>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/config_alone.h"
#include "api/generation_defaults.h"
#include "api/prepare.h"
#include "base/memory_status.h"
#include "plan/estimate.h"
#include "plan/human_size.h"
#include "plan/plan_tree.h"
#include "plan/tree_text.h"

namespace shoehorn {
namespace {

using Json = nlohmann::ordered_json;

/// Bytes per element of the estimate's rows, as shoehorn itself would hold them.
constexpr std::array<double, 4> kRowBytes = {4, 2, 1, 0.5};

struct Facts {
  std::int64_t parameters = 0;  // tied ones once
  std::size_t footprint = 0;    // as transformers counts it
  std::size_t weights = 0;      // what they take, scales included
  std::size_t kv_cache = 0;     // for shape.max_context positions
  std::size_t around = 0;       // process, workspace and reserve
  std::size_t free = 0;         // what a default budget would be
};

/// How long, and in how many sequences, a generation goes by the checkpoint's defaults.
Json generation_json(const Checkpoint& checkpoint) {
  const GenerationConfig config = generation_defaults(checkpoint);
  Json json{{"num_beams", config.num_beams}, {"num_return_sequences", config.num_return_sequences}};
  if (config.max_length) {
    json["max_length"] = *config.max_length;
  } else {
    json["max_new_tokens"] = config.max_new_tokens;
  }
  return json;
}

Facts gather(const OpenedModel& opened, const RunShape& shape) {
  Facts facts;
  const PlanTree tree(opened.resolved.tree);
  for (NodeId id = 0; id < tree.size(); ++id) {
    const PlanNode& node = tree.node(id);
    if (node.kind == NodeKind::kParameter && node.storage == id) {
      facts.parameters += static_cast<std::int64_t>(node.elements);
    }
  }
  facts.footprint = memory_footprint(opened.resolved.tree);
  std::set<StorageId> counted;
  for (const ResolvedWeight& weight : opened.resolved.weights) {
    if (counted.insert(storage_of(weight)).second) facts.weights += resident_bytes(weight);
  }
  facts.kv_cache = kv_cache_bytes(opened, shape, shape.max_context);
  facts.around = process_memory().rss_bytes + shape.workspace_bytes;
  facts.free = memory_status().free_bytes / 10 * 9;
  return facts;
}

/// Whether weights of that many bytes fit here with everything around them, in words.
std::string fit(const Facts& facts, double weight_bytes) {
  const double around = static_cast<double>(facts.around + facts.kv_cache);
  const auto free = static_cast<double>(facts.free);
  if (weight_bytes + around <= free) return "in memory";
  if (around >= free) return "no: KV cache and workspace do not";
  const double streamed = (weight_bytes + around - free) / weight_bytes;
  return std::to_string(static_cast<int>(100 * streamed + 0.999)) + " % streamed";
}

std::vector<ExtraColumn> own_columns(const Facts& facts, const RunShape& shape) {
  ExtraColumn whole{"With head", {}};
  ExtraColumn kv{"KV cache, " + std::to_string(shape.max_context) + " positions", {}};
  ExtraColumn fits{"On this machine", {}};
  for (const double element_bytes : kRowBytes) {
    const double bytes = static_cast<double>(facts.parameters) * element_bytes;
    whole.cells.push_back(accelerate_size({bytes, true}));
    kv.cells.push_back(accelerate_size({static_cast<double>(facts.kv_cache), true}));
    fits.cells.push_back(fit(facts, bytes));
  }
  return {whole, kv, fits};
}

Json tree_json(const Module& module) {
  Json json{{"class", module.class_name}};
  for (const ParameterSpec& parameter : module.parameters) {
    json["parameters"][parameter.name] = {
        {"shape", std::vector<std::int64_t>(parameter.shape.begin(), parameter.shape.end())},
        {"dtype", to_string(parameter.dtype)}};
  }
  for (const BufferSpec& buffer : module.buffers) {
    json["buffers"][buffer.name] = {
        {"shape", std::vector<std::int64_t>(buffer.shape.begin(), buffer.shape.end())},
        {"dtype", to_string(buffer.dtype)},
        {"persistent", buffer.persistent}};
  }
  for (const auto& [name, child] : module.children) json["children"][name] = tree_json(child);
  return json;
}

/// What was, or would be, quantized, and why the other linear modules are not.
Json quantization_json(const OpenedModel& opened) {
  const ResolvedModel& model = opened.resolved;
  if (model.quant_type == QuantType::kNone && model.kept_linears.empty()) return nullptr;
  Json json{{"stored", model.quantized_checkpoint},
            {"compute_dtype", to_string(opened.compute.dtype)},
            {"llm_int8_threshold", opened.compute.llm_int8_threshold},
            {"quantized", Json::object()},
            {"kept", Json::object()}};
  for (const ResolvedWeight& weight : model.weights) {
    if (!weight.form.is_quantized()) continue;
    Json& entry = json["quantized"][weight.path];
    entry = {{"quant_type", to_string(weight.form.quant_type)},
             {"dtype", dtype_info(weight.form.dtype).torch_name},
             {"bytes", resident_bytes(weight)}};
    if (weight.form.is_four_bit()) {
      entry["blocksize"] = weight.form.blocksize;
      entry["nested"] = weight.form.nested;
    }
  }
  for (const auto& [path, reason] : model.kept_linears) json["kept"][path] = reason;
  return json;
}

std::string form_text(const WeightForm& form) {
  std::string text = "as " + std::string(to_string(form.quant_type));
  if (form.nested) text += " double";
  return text;
}

/// Kept modules by reason, layers written once.
std::string kept_text(const std::map<std::string, std::string>& kept) {
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const auto& [path, reason] : kept) by_reason[reason].push_back(path);
  std::string text;
  for (const auto& [reason, paths] : by_reason) {
    text += "  not quantized: " + paths.front();
    if (paths.size() > 1) text += " and " + std::to_string(paths.size() - 1) + " more";
    text += " (" + reason + ")\n";
  }
  return text;
}

Json report_json(const OpenedModel& opened, const RunShape& shape, const Facts& facts,
                 const std::vector<EstimateRow>& rows) {
  Json json{{"format", opened.checkpoint->format()},
            {"parameters", facts.parameters},
            {"footprint_bytes", facts.footprint},
            {"weight_bytes", facts.weights},
            {"kv_cache_bytes", facts.kv_cache},
            {"max_context", shape.max_context},
            {"generation", generation_json(*opened.checkpoint)},
            {"kv_dtype", dtype_info(shape.kv_dtype).torch_name},
            {"free_bytes", facts.free}};
  json["estimate"] = Json::array();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Json row{{"dtype", rows[i].dtype},
             {"largest_layer_bytes", rows[i].largest_layer.value},
             {"total_bytes", rows[i].total.value},
             {"fits", fit(facts, static_cast<double>(facts.parameters) * kRowBytes.at(i))}};
    row["training_bytes"] = rows[i].can_train ? Json(rows[i].training.value) : Json(nullptr);
    json["estimate"].push_back(row);
  }
  json["quantization"] = quantization_json(opened);
  json["ties"] = Json::array();
  for (const Tie& tie : opened.resolved.tree.ties) json["ties"].push_back({tie.owner, tie.alias});
  json["no_split_module_classes"] = opened.resolved.tree.no_split_module_classes;
  json["tree"] = tree_json(opened.resolved.tree.root);
  return json;
}

}  // namespace

InspectReport inspect(const std::string& model, const LoadOptions& load_options) {
  refuse_tiers(load_options, "inspect");
  const ModelRequest request = allow_config_alone(model, load_options);
  const LoadOptions& options = request.options;
  const OpenedModel opened = open_model(request.model, options);
  const RunShape shape = run_shape(opened, options);
  const Facts facts = gather(opened, shape);
  std::vector<std::string> layers;
  for (std::size_t i = 0; i < opened.architecture->shape().layers.size(); ++i) {
    layers.push_back(opened.resolved.groups[i + 1].name);
  }
  // The estimate counts the empty model in float32, whatever the checkpoint has.
  ModuleTree empty = opened.architecture->module_tree(DType::kF32);
  empty.no_split_module_classes = opened.resolved.tree.no_split_module_classes;
  const std::vector<EstimateRow> rows = estimate_memory(empty, base_model_path(layers));

  std::unordered_map<std::string, const ResolvedWeight*> weights;
  for (const ResolvedWeight& weight : opened.resolved.weights) weights[weight.path] = &weight;
  const auto bytes_of = [&](const std::string& path) {
    const auto weight = weights.find(path);
    return weight == weights.end() ? std::size_t{0} : resident_bytes(*weight->second);
  };
  const auto annotate = [&](const std::string& path) {
    const auto weight = weights.find(path);
    const bool quantized = weight != weights.end() && weight->second->form.is_quantized();
    return quantized ? form_text(weight->second->form) : std::string();
  };
  std::ostringstream text;
  text << opened.checkpoint->path().string() << "\n  " << opened.checkpoint->format() << ", "
       << opened.checkpoint->files().size() << " files, " << facts.parameters << " parameters, "
       << human_size(facts.weights) << " of weights (" << human_size(facts.footprint)
       << " is get_memory_footprint)\n"
       << kept_text(opened.resolved.kept_linears) << '\n'
       << tree_text(opened.resolved.tree, {.bytes_of = bytes_of, .annotate = annotate}) << '\n'
       << estimate_text(rows, opened.checkpoint->path().filename().string(),
                        own_columns(facts, shape), {.width = 120});
  if (options.on_note) {
    for (const std::string& note : opened.notes) options.on_note(note);
  }
  return {.text = text.str(), .json = report_json(opened, shape, facts, rows).dump()};
}

}  // namespace shoehorn
