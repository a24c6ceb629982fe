#include "checkpoint/peft_adapter.h"

#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/config.h"
#include "checkpoint/model_path.h"
#include "checkpoint/printable.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/torch_file.h"
#include "text/regex.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMaxConfigBytes = 16U << 20;
constexpr std::int64_t kMaxRank = 1 << 20;

// PEFT wraps the model twice before it names its tensors.
constexpr std::string_view kWrapping = "base_model.model.";

// Keys that make something else of LoRA's sum, and what they are called.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kOtherKinds = {{
    {"use_dora", "DoRA"},
    {"use_qalora", "QALoRA"},
    {"use_bdlora", "BD-LoRA"},
    {"alora_invocation_tokens", "activated LoRA"},
    {"arrow_config", "Arrow routing"},
    {"kasa_config", "KaSA"},
    {"monteclora_config", "MonteCLoRA"},
    {"velora_config", "VeLoRA"},
    {"layer_replication", "layer replication"},
    {"megatron_config", "Megatron's parallel layers"},
    {"target_parameters", "LoRA of parameters (target_parameters)"},
    {"trainable_token_indices", "trained token rows (trainable_token_indices)"},
}};

/// What Python calls true.
bool is_set(const Json& value) {
  if (value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  return !(value.is_structured() && value.empty());
}

FormatError wrong(const fs::path& path, std::string_view key, std::string_view expected) {
  return FormatError(path, str_cat(key, ": expected ", expected));
}

double finite_number(const Json& value, const fs::path& path, std::string_view key) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) {
    throw wrong(path, key, "a finite number");
  }
  return value.get<double>();
}

std::int64_t rank_of(const Json& value, const fs::path& path, std::string_view key) {
  const bool fits = value.is_number_unsigned() && value.get<std::uint64_t>() >= 1 &&
                    value.get<std::uint64_t>() <= std::uint64_t{kMaxRank};
  if (!fits) throw wrong(path, key, str_cat("a rank from 1 to ", kMaxRank));
  return value.get<std::int64_t>();
}

/// Calls read(pattern, value) for the entries of an object that need not be there.
template <typename Read>
void read_patterns(const Json& json, const char* key, const fs::path& path, const Read& read) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return;
  if (!found->is_object()) throw wrong(path, key, "an object of patterns");
  for (const auto& [pattern, value] : found->items()) read(pattern, value);
}

/// re.match(rf"(.*\.)?({pattern})$", module), as PEFT asks.
bool matches(const std::string& pattern, std::string_view module, const fs::path& path) {
  try {
    const text::Regex regex(str_cat("^(?:.*\\.)?(?:", pattern, ")$"));
    text::RegexSearch search(regex);
    search.start(module);
    text::RegexMatch match;
    return search.next(match);
  } catch (const FormatError& error) {
    throw FormatError(path, str_cat("rank_pattern or alpha_pattern: ", error.what()));
  }
}

template <typename Value>
Value first_match(const std::vector<std::pair<std::string, Value>>& patterns,
                  std::string_view module, const fs::path& path, Value otherwise) {
  for (const auto& [pattern, value] : patterns) {
    if (matches(pattern, module, path)) return value;
  }
  return otherwise;
}

Checkpoint open_tensors(const fs::path& folder) {
  Checkpoint::Parts parts;
  parts.path = folder;
  std::error_code ignored;
  if (const fs::path file = folder / "adapter_model.safetensors"; fs::exists(file, ignored)) {
    parts.format = "safetensors";
    parts.files.emplace_back(file);
    parts.tensors = read_safetensors_header(parts.files.front()).tensors;
  } else if (const fs::path old = folder / "adapter_model.bin"; fs::exists(old, ignored)) {
    parts.format = "pytorch";
    parts.files.emplace_back(old);
    parts.tensors = read_torch_file(source_of(parts.files.front())).tensors;
  } else {
    throw FileError(folder,
                    "has neither adapter_model.safetensors nor adapter_model.bin: name the folder "
                    "that PEFT saved");
  }
  return Checkpoint(std::move(parts));
}

/// `name` without `suffix`, if it ends so.
std::optional<std::string> before(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  return std::string(name.substr(0, name.size() - suffix.size()));
}

}  // namespace

PeftConfig parse_peft_config(std::string_view text, const std::filesystem::path& path) {
  // Config limits the depth, and says where the text is no object.
  const Config checked = Config::parse(text, path);
  const std::string type = checked.text("peft_type", "");
  if (type != "LORA") {
    throw UnsupportedError(str_cat(path.string(), ": peft_type is \"", printable(type),
                                   "\"; shoehorn applies LORA adapters"));
  }
  const Json json = Json::parse(text);
  for (const auto& [key, name] : kOtherKinds) {
    const auto found = json.find(key);
    if (found == json.end() || !is_set(*found)) continue;
    throw UnsupportedError(str_cat(path.string(), ": ", key, " asks for ", name,
                                   ", which shoehorn does not apply; merge the adapter with PEFT's "
                                   "merge_and_unload"));
  }
  PeftConfig config;
  if (const auto found = json.find("r"); found != json.end() && !found->is_null()) {
    config.r = rank_of(*found, path, "r");
  }
  if (const auto found = json.find("lora_alpha"); found != json.end() && !found->is_null()) {
    config.lora_alpha = finite_number(*found, path, "lora_alpha");
  }
  config.use_rslora = checked.boolean("use_rslora", false);
  read_patterns(json, "rank_pattern", path, [&](const std::string& pattern, const Json& value) {
    config.rank_pattern.emplace_back(pattern, rank_of(value, path, "rank_pattern"));
  });
  read_patterns(json, "alpha_pattern", path, [&](const std::string& pattern, const Json& value) {
    config.alpha_pattern.emplace_back(pattern, finite_number(value, path, "alpha_pattern"));
  });
  return config;
}

PeftScale peft_scale(const PeftConfig& config, std::string_view module,
                     const std::filesystem::path& path) {
  PeftScale scale;
  scale.rank = first_match(config.rank_pattern, module, path, config.r);
  const double alpha = first_match(config.alpha_pattern, module, path, config.lora_alpha);
  const auto rank = static_cast<double>(scale.rank);
  scale.scale = alpha / (config.use_rslora ? std::sqrt(rank) : rank);
  return scale;
}

PeftAdapter::PeftAdapter(const std::filesystem::path& folder)
    : path_(folder), tensors_(open_tensors(folder)) {
  const fs::path config_path = folder / "adapter_config.json";
  sort_tensors(parse_peft_config(read_text_file(config_path, kMaxConfigBytes), config_path));
}

void PeftAdapter::sort_tensors(const PeftConfig& config) {
  std::map<std::string, PeftUpdate> updates;
  for (const TensorInfo& info : tensors_.tensors()) {
    const auto fail = [&](const std::string& what) {
      throw FormatError(tensors_.path_of(info), str_cat(printable(info.name), ": ", what));
    };
    if (!info.name.starts_with(kWrapping)) fail("a name of PEFT begins with base_model.model.");
    const std::string_view name = std::string_view(info.name).substr(kWrapping.size());
    if (const auto a = before(name, ".lora_A.weight")) {
      updates[*a].a = &info;
    } else if (const auto b = before(name, ".lora_B.weight")) {
      updates[*b].b = &info;
    } else if (const auto bias = before(name, ".lora_B.bias")) {
      updates[*bias].bias = &info;
    } else if (name.find(".lora_") != name.npos) {
      throw UnsupportedError(str_cat(tensors_.path_of(info).string(), ": ", printable(info.name),
                                     ": shoehorn applies LoRA to linear layers alone; merge the "
                                     "adapter with PEFT's merge_and_unload"));
    } else {
      std::string model_name(name);
      if (const std::size_t at = model_name.rfind(".base_layer."); at != model_name.npos) {
        model_name.erase(at, std::string_view(".base_layer").size());
      }
      replacements_.emplace_back(std::move(model_name), &info);
    }
  }
  const fs::path config_path = path_ / "adapter_config.json";
  for (auto& [module, update] : updates) {
    const auto fail = [&, &name = module](const std::string& what) {
      throw FormatError(path_, str_cat(printable(name), ": ", what));
    };
    if (update.a == nullptr || update.b == nullptr) {
      fail(str_cat("there is a lora_", update.a == nullptr ? "B" : "A", " without its lora_",
                   update.a == nullptr ? "A" : "B"));
    }
    update.module = module;
    update.scale = peft_scale(config, module, config_path);
    const Shape& a = update.a->shape;
    const Shape& b = update.b->shape;
    const std::int64_t rank = update.scale.rank;
    if (a.rank() != 2 || b.rank() != 2 || a[0] != rank || b[1] != rank) {
      fail(str_cat("adapter_config.json gives it rank ", rank, ", but lora_A is ", to_string(a),
                   " and lora_B ", to_string(b)));
    }
    if (update.bias != nullptr &&
        (update.bias->shape.rank() != 1 || update.bias->shape[0] != b[0])) {
      fail(str_cat("lora_B is ", to_string(b), " and its bias ", to_string(update.bias->shape)));
    }
    updates_.push_back(update);
  }
}

Checkpoint with_replacements(Checkpoint base, const std::vector<const PeftAdapter*>& adapters,
                             std::string_view prefix) {
  std::map<std::string, std::pair<const PeftAdapter*, const TensorInfo*>> wanted;
  const std::string dotted = str_cat(prefix, ".");
  for (const PeftAdapter* adapter : adapters) {
    for (const auto& [name, info] : adapter->replacements()) {
      std::string stored = name;
      if (base.find(stored) == nullptr) {
        const std::string other =
            name.starts_with(dotted) ? name.substr(dotted.size()) : dotted + name;
        if (base.find(other) != nullptr) stored = other;
      }
      if (base.find(str_cat(stored, ".absmax")) != nullptr ||
          base.find(str_cat(stored.substr(0, stored.rfind('.')), ".SCB")) != nullptr) {
        throw UnsupportedError(str_cat(adapter->path().string(), ": brings ", stored,
                                       ", which the model has quantized"));
      }
      if (!wanted.try_emplace(stored, adapter, info).second) {
        throw ArgumentError(str_cat(adapter->path().string(), ": brings ", stored,
                                    ", as another adapter does: they cannot be used together"));
      }
    }
  }
  if (wanted.empty()) return base;
  Checkpoint::Parts parts = std::move(base).take_parts();
  if (parts.source != nullptr) {
    throw UnsupportedError("an adapter that replaces tensors needs a checkpoint of files");
  }
  std::erase_if(parts.tensors, [&](const TensorInfo& info) { return wanted.contains(info.name); });
  std::map<fs::path, std::uint32_t> files;
  for (const auto& [name, from] : wanted) {
    const fs::path& path = from.first->tensors().path_of(*from.second);
    const auto [file, is_new] =
        files.try_emplace(path, static_cast<std::uint32_t>(parts.files.size()));
    if (is_new) parts.files.emplace_back(path);
    TensorInfo info = *from.second;
    info.name = name;
    info.file = file->second;
    parts.tensors.push_back(std::move(info));
  }
  return Checkpoint(std::move(parts));
}

}  // namespace shoehorn
