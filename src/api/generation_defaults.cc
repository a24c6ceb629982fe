#include "api/generation_defaults.h"

#include <algorithm>
#include <cstdint>

#include "shoehorn/error.h"

#include "base/checked.h"
#include "base/str_cat.h"

namespace shoehorn {

GenerationConfig generation_defaults(const Checkpoint& checkpoint,
                                     const std::function<void(const std::string&)>& on_note) {
  const bool has_file = !checkpoint.generation_config_json().empty();
  const std::string file = has_file ? "generation_config.json" : "config.json";
  UnusedGenerationKeys unused;
  GenerationConfig config = has_file
                                ? parse_generation_config(checkpoint.generation_config_json(),
                                                          checkpoint.path() / file, &unused)
                                : generation_config_from_model_config(
                                      checkpoint.config_json(), checkpoint.path() / file, &unused);
  if (!on_note) return config;
  for (const std::string& key : unused.unsupported) {
    on_note(str_cat(file, " asks for ", key, ", which is not done"));
  }
  std::string unknown;
  for (const std::string& key : unused.unknown) unknown += (unknown.empty() ? "" : ", ") + key;
  if (!unknown.empty()) on_note(str_cat(file, " has keys without a meaning here: ", unknown));
  return config;
}

std::int64_t planned_sequences(const Checkpoint& checkpoint, const LoadOptions& options) {
  if (options.max_batch < 1) throw ArgumentError("max_batch must be at least 1");
  const PlannedGeneration& planned = options.planned;
  if (planned.prompts < 1) throw ArgumentError("a generation is planned for at least 1 prompt");
  GenerationConfig config;
  if (!planned.num_beams || !planned.num_return_sequences) config = generation_defaults(checkpoint);
  config = with_overrides(
      {.num_beams = config.num_beams, .num_return_sequences = config.num_return_sequences},
      {.num_beams = planned.num_beams, .num_return_sequences = planned.num_return_sequences});
  if (config.num_beams > 1) {
    require_beams_for_sequences(config);
    // Prompts of a beam search come one after the other.
    return std::max(options.max_batch, config.num_beams);
  }
  const auto together = checked_mul(static_cast<std::size_t>(planned.prompts),
                                    static_cast<std::size_t>(config.num_return_sequences));
  if (!together || *together > INT32_MAX) {
    throw ArgumentError(str_cat(planned.prompts, " prompts of ", config.num_return_sequences,
                                " sequences each are too many"));
  }
  return std::max(options.max_batch, static_cast<std::int64_t>(*together));
}

LoadOptions planned_for_one(LoadOptions options) {
  options.planned = {.num_beams = 1, .num_return_sequences = 1};
  return options;
}

}  // namespace shoehorn
