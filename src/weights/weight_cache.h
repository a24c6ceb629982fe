// The weight cache: weights that were converted on the way in and do not stay in memory, written
// once in the form they have there, so that every later pass, and every later run, streams them.
// A folder holds one file a weight.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "kernels/exec_context.h"
#include "weights/weight_group.h"

namespace shoehorn {

/// shoehorn/weights below $XDG_CACHE_HOME or ~/.cache; the system's folder for temporary files
/// where there is no home.
std::filesystem::path default_weight_cache();

/// Sets `cached` of every streamed weight that is quantized on load or stored with strides (GPT-2's
/// transposed matrices): from a file of an earlier run
/// if it was made from the same tensor (file, size, time of change, place) with the same options,
/// else from one that is written now. A file appears under its name when it is complete. `folder`
/// is made if need be. At most one weight and the pieces in flight are in memory. Throws FileError
/// where the folder cannot be written, and what reading and quantizing throw.
void fill_weight_cache(const Checkpoint& checkpoint, std::vector<WeightGroup>& groups,
                       const std::filesystem::path& folder, ThreadPool& pool, Isa isa,
                       const std::function<void(std::size_t done, std::size_t total)>& on_progress);

}  // namespace shoehorn
