// One file from the hub into the cache: continued where an earlier try stopped, held against its
// size and hash, and only then given its name.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "hub/cache.h"
#include "hub/client.h"

namespace shoehorn::hub {

/// Fetches `file` at `commit` unless its blob is there, and links it. `on_bytes` is told how many
/// more bytes are there (those of an earlier try too), or fewer, where a try was for nothing; it
/// may be called from the calling thread only. Returns the bytes that came over the network. Throws
/// FileError, FormatError where size or hash differ twice, what Client::fetch throws.
std::uint64_t transfer(const Client& client, const CachedModel& cache, const std::string& commit,
                       const std::string& file, const FileFacts& facts,
                       const std::function<void(std::int64_t)>& on_bytes);

}  // namespace shoehorn::hub
