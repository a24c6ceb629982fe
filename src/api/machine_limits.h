// The limits and rates of the machine that a plan is made for: what is there, or what --assume
// says.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "shoehorn/options.h"

#include "api/prepare.h"

namespace shoehorn {

/// Limits from options.max_memory, or 90 % of what is free; workspace and process bytes as the
/// plan counts them; where there are CUDA devices, the shape of their passes. Throws ArgumentError
/// for a limit that cannot be read or names an accelerator that is not there.
Machine machine_limits(const LoadOptions& options, const OpenedModel& opened, RunShape& shape,
                       const std::string& assume);

/// What stands for the checkpoint where its drive is asked about; null where it has no files.
const File* largest_file(const Checkpoint& checkpoint);

/// Measures memory, arithmetic and, with the checkpoint's largest file, the drive; quickly.
void measure_rates(const Checkpoint& checkpoint, const RunShape& shape, Machine& machine);

/// Takes the drive's rate from what was last found on the checkpoint's file system, if anything
/// was.
void recall_drive_rate(const Checkpoint& checkpoint, Machine& machine);

}  // namespace shoehorn
