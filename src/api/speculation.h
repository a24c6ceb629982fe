// Speculation as a user asks for it: the draft model, and where guessing would change what a model
// says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "shoehorn/model.h"
#include "shoehorn/options.h"

#include "api/prepare.h"
#include "generate/draft_source.h"
#include "generate/generation_config.h"
#include "generate/speculation.h"
#include "model/loaded_model.h"

namespace shoehorn {

/// The model that `options` names as draft, loaded; null where they name none. Throws what
/// from_pretrained throws.
std::unique_ptr<const Model> load_draft(const LoadOptions& options);

/// Host memory that the draft model would take, as planned; 0 where none is named.
std::size_t planned_draft_bytes(const LoadOptions& options);

/// Host memory that a loaded draft has a right to and does not hold yet.
std::size_t unused_bytes(const Model& draft);

/// Throws ArgumentError where ids of the draft and of the model mean different tokens.
void require_same_vocabulary(const Model& draft, const std::string& draft_name,
                             const Tokenizer* tokenizer, std::int64_t vocab_size);

/// Why a pass over several new ids may say something else than one pass for each; empty where it
/// does not, but for rounding.
std::string speculation_obstacle(const LoadedModel& model, const RunShape& shape);

}  // namespace shoehorn
