#include "api/speculation.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "api/generation_defaults.h"
#include "api/model_impl.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

using Json = nlohmann::json;

LoadOptions draft_options(const LoadOptions& options) {
  LoadOptions draft = planned_for_one({});
  draft.device_map = "cpu";
  draft.max_memory = options.max_memory;
  draft.max_context = options.max_context;
  draft.threads = options.threads;
  draft.offload_folder = options.offload_folder;
  draft.synthetic = options.synthetic;
  draft.synthetic_seed = options.synthetic_seed;
  draft.on_progress = options.on_progress;
  if (options.on_note) {
    draft.on_note = [note = options.on_note](const std::string& text) {
      note("draft model: " + text);
    };
  }
  return draft;
}

/// The first rotary scaling whose angles depend on the length of a call, and the length from which
/// they do; an empty name where there is none. `json` is config.json, or a part of it: some models
/// have one scaling for each type of layer.
struct LengthScaling {
  std::string name;
  std::int64_t from = 0;
};

LengthScaling length_scaling(const Json& json, int depth = 0) {
  if (!json.is_object() || depth > 3) return {};
  for (const char* key : {"rope_type", "type"}) {
    const auto type = json.find(key);
    if (type == json.end() || !type->is_string()) continue;
    const auto name = type->get<std::string>();
    if (name != "dynamic" && name != "longrope" && name != "su") continue;
    const auto original = json.find("original_max_position_embeddings");
    const bool says = original != json.end() && original->is_number_integer();
    return {name, says ? original->get<std::int64_t>() : 0};
  }
  for (const auto& [key, value] : json.items()) {
    const bool scaling =
        key == "rope_scaling" || key == "rope_parameters" || depth > 0 || key == "text_config";
    if (!scaling) continue;
    LengthScaling found = length_scaling(value, key == "text_config" ? depth : depth + 1);
    if (found.name.empty()) continue;
    for (const char* length : {"original_max_position_embeddings", "max_position_embeddings"}) {
      const auto top = json.find(length);
      if (found.from == 0 && top != json.end() && top->is_number_integer()) {
        found.from = top->get<std::int64_t>();
      }
    }
    return found;
  }
  return {};
}

}  // namespace

std::unique_ptr<const Model> load_draft(const LoadOptions& options) {
  if (options.draft_model.empty()) return nullptr;
  return std::make_unique<const Model>(
      from_pretrained(options.draft_model, draft_options(options)));
}

std::size_t planned_draft_bytes(const LoadOptions& options) {
  if (options.draft_model.empty()) return 0;
  const auto prepared = prepare_model(options.draft_model, draft_options(options), /*assume=*/"",
                                      /*measure=*/false);
  const auto cpu = std::ranges::find(prepared->plan.devices, DeviceKey::cpu(), &DeviceUse::device);
  return cpu == prepared->plan.devices.end() ? 0 : cpu->used() - cpu->process;
}

std::size_t unused_bytes(const Model& draft) {
  // The KV cache is made with a generation, and of the workspace nothing was used so far.
  return draft.session_bytes();
}

void require_same_vocabulary(const Model& draft, const std::string& draft_name,
                             const Tokenizer* tokenizer, std::int64_t vocab_size) {
  const auto refuse = [&](const std::string& why) {
    throw ArgumentError(str_cat("draft_model ", draft_name, " ", why,
                                "; a draft model needs the tokenizer of the model it guesses for, "
                                "as smaller models of one family have it"));
  };
  const Tokenizer* const own = draft.tokenizer();
  if ((own == nullptr) != (tokenizer == nullptr)) {
    refuse(own == nullptr ? "has no tokenizer" : "has a tokenizer, and the model has none");
  }
  if (own == nullptr) {
    if (draft.vocab_size() != vocab_size) {
      refuse(str_cat("has ", draft.vocab_size(), " tokens, the model ", vocab_size));
    }
    return;
  }
  // The rows of a head may go beyond the vocabulary, to a round number.
  const std::int64_t most = std::max(draft.vocab_size(), vocab_size);
  for (std::int64_t i = 0; i < most; ++i) {
    const auto id = static_cast<std::int32_t>(i);
    const auto theirs = own->id_to_token(id);
    const auto ours = tokenizer->id_to_token(id);
    if (theirs == ours) continue;
    const auto shown = [](const auto& token) {
      return token ? str_cat("\"", *token, "\"") : std::string("no token");
    };
    refuse(str_cat("has another tokenizer: id ", id, " is ", shown(theirs), ", the model's is ",
                   shown(ours)));
  }
}

std::string speculation_obstacle(const LoadedModel& model, const RunShape& shape) {
  for (const WeightGroup& group : model.weights().groups()) {
    for (const WeightSpec& weight : group.weights) {
      if (weight.exists() && weight.form.quant_type == QuantType::kInt8 &&
          weight.compute.llm_int8_threshold > 0) {
        return "LLM.int8's outlier columns depend on the tokens that are computed together "
               "(--llm-int8-threshold 0 has none)";
      }
    }
  }
  const LengthScaling scaling =
      length_scaling(Json::parse(model.checkpoint().config_json(), nullptr, false));
  if (!scaling.name.empty() && shape.max_context > scaling.from) {
    return str_cat("the \"", scaling.name,
                   "\" rotary scaling depends on the length of a call beyond ", scaling.from,
                   " positions (--max-context ", scaling.from, " stays below)");
  }
  return "";
}

}  // namespace shoehorn
