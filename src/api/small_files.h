// The small files of a model folder that is written: config.json, with its quantization_config
// where there is one, and what is copied.
#pragma once

#include <filesystem>
#include <string>

#include "shoehorn/quantization.h"

#include "checkpoint/checkpoint.h"
#include "model/weight_plan.h"

namespace shoehorn {

/// config.json of the model with `config` as its quantization_config, or without one where that is
/// null: keys sorted, as transformers writes them. Of llm_int8_skip_modules it holds all that was
/// left alone, since transformers forgets its defaults where there is a list. `dtype` is torch's
/// name of the type of what is not quantized.
std::string written_config_json(const Checkpoint& checkpoint, const ResolvedModel& model,
                                const BitsAndBytesConfig* config, const std::string& dtype);

/// Copies tokenizer, templates and whatever else small lies beside the weights into `out`; of a
/// GGUF file, what was made of its metadata.
void copy_small_files(const Checkpoint& checkpoint, const std::filesystem::path& out);

}  // namespace shoehorn
