// What a checkpoint says of generation before a caller does, and how many sequences that takes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "shoehorn/options.h"

#include "checkpoint/checkpoint.h"
#include "generate/generation_config.h"

namespace shoehorn {

/// Its generation_config.json, else what its config.json has of one. Tells `on_note` (may be empty)
/// which keys are not followed. Throws FormatError.
GenerationConfig generation_defaults(const Checkpoint& checkpoint,
                                     const std::function<void(const std::string&)>& on_note = {});

/// The sequences that advance together: options.max_batch, or more where options.planned, or in its
/// place the checkpoint, asks for more. Throws ArgumentError, FormatError.
std::int64_t planned_sequences(const Checkpoint& checkpoint, const LoadOptions& options);

/// `options` for what generates nothing, or one sequence at a time whatever a file says.
LoadOptions planned_for_one(LoadOptions options);

}  // namespace shoehorn
