// The weight cache: weights that were converted on the way in and do not stay in memory, written
// once in the form they have there, so that every later pass, and every later run, streams them.
// A folder holds one file a weight. Any number of processes may use it at once.
#pragma once

#include <cstddef>
#include <cstdint>
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

/// True if a weight is brought to another form that takes fewer bytes than it is stored in, or is
/// stored with strides (GPT-2's transposed matrices): streamed, it comes from the cache. What grows
/// is converted in every pass.
bool is_worth_caching(const WeightSpec& weight);

struct WeightCacheOptions {
  std::filesystem::path folder;   // made if need be
  std::uint64_t limit_bytes = 0;  // of all files in it; 0: none
  /// Told how many of how many bytes are there; may be empty.
  std::function<void(std::size_t done, std::size_t total)> on_progress = {};
};

/// Sets `cached` of every streamed weight that is worth caching: from a file of an earlier run if
/// it was made from the same tensor (file, size, time of change, place) with the same options, else
/// from one that is written now; and of weights for host memory whose file is there already. A file
/// appears under its name when all of it is on the drive, so that whoever is killed, or meets a
/// full drive, leaves nothing that another run would take. At most one weight and the pieces in
/// flight are in memory. Throws FileError where the folder cannot be written, PlanError where the
/// weights are larger than the limit, and what reading and quantizing throw.
void fill_weight_cache(const Checkpoint& checkpoint, std::vector<WeightGroup>& groups,
                       const WeightCacheOptions& options, ThreadPool& pool, Isa isa);

}  // namespace shoehorn
